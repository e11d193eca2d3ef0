"""Which size a model draws at when it is asked for another: always one it has, and always said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, inf, log, prod, sqrt

from ..base.errors import UserError

FACTORS = (2, 4)  # of upscaling
MOST_UPSCALED = 4096 * 4096  # px of an upscaled picture, half a minute of two fp32 cores
Sizes = Mapping[str, Mapping[str, tuple[int, int]]]


@dataclass(frozen=True, kw_only=True)
class NativeSize:
    """A size that a model has. note: one sentence where it differs from what was asked, else empty."""

    width: int
    height: int
    aspect: str
    resolution: str
    note: str = ""


def ratio(size: str) -> float:
    """Width over height of an aspect ("16:9", "9:19.5") or of pixels ("1024x768").

    Raises:
        UserError: it is neither, or a side is zero.
    """
    parts = re.fullmatch(r"(\d{1,5}(?:\.\d{1,3})?)([:x])(\d{1,5}(?:\.\d{1,3})?)", size, re.ASCII)
    if parts and float(parts[1]) > 0 and float(parts[3]) > 0:
        return float(parts[1]) / float(parts[3])
    raise UserError(f"The size {size!r} is not known.", fix="Write an aspect such as 16:9, or pixels such as 1024x768.")


def nearest_size(
    sizes: Sizes, size: str, resolution: str | None, multiple: int | None = None, most_pixels: int | None = None
) -> NativeSize:
    """The native size for what was asked: the nearest aspect, at the resolution asked or else the largest.

    size: "auto" (the first aspect), an aspect or pixels. Pixels choose, without a resolution, the largest native size that is not
    larger, or the smallest there is; where any `multiple` of pixels is native, they are only rounded to it and kept under
    `most_pixels`. sizes: resolution -> aspect -> (width, height), smallest resolution first.

    Raises:
        UserError: `size` cannot be read.
    """
    pixels = tuple(int(side) for side in size.split("x")) if re.fullmatch(r"\d+x\d+", size) else None
    wanted = None if size == "auto" else ratio(size)
    if pixels and multiple:
        return _rounded(pixels, multiple, most_pixels)
    chosen = resolution if resolution in sizes else next(reversed(sizes))
    aspect = next(iter(sizes[chosen]))
    if wanted is not None:
        aspect = min(sizes[chosen], key=lambda name: abs(log(ratio(name) / wanted)))
    if pixels and resolution not in sizes:
        having = [name for name in sizes if aspect in sizes[name]]
        fitting = [name for name in having if prod(sizes[name][aspect]) <= prod(pixels)]
        chosen = (fitting or having[:1])[-1]
    width, height = sizes[chosen][aspect]
    missing = [] if resolution is None or resolution in sizes else [f"resolution {resolution}"]
    if pixels and pixels != (width, height):
        missing.append(f"size {size}")
    elif wanted is not None and not pixels and wanted != ratio(aspect):
        missing.append(f"aspect {size}")
    note = f"This model has no {' and no '.join(missing)}; made at {width}x{height} ({aspect})." if missing else ""
    return NativeSize(width=width, height=height, aspect=aspect, resolution=chosen, note=note)


def upscaled_size(width: int, height: int, factor: int) -> NativeSize:
    """The size of a picture of width x height px after upscaling.

    Raises:
        UserError: a factor that is not among FACTORS, or more than MOST_UPSCALED px.
    """
    if factor not in FACTORS:
        raise UserError(
            f"A picture cannot be made {factor} times as large.", fix=f"Choose one of {', '.join(map(str, FACTORS))}."
        )
    wide, high = factor * width, factor * height
    if wide * high > MOST_UPSCALED:
        raise UserError(
            f"Made {factor} times as large, the picture would have {wide} x {high} px; the most are 16.7 megapixels.",
            fix="Choose a smaller factor, or cut the picture.",
        )
    return NativeSize(width=wide, height=high, aspect=f"{width}:{height}", resolution=f"{wide}x{high}")


def _rounded(pixels: tuple[int, ...], multiple: int, most_pixels: int | None) -> NativeSize:
    """Pixels at the nearest multiple, scaled down where they are too many."""
    most = most_pixels or inf
    shrink = min(1.0, sqrt(most / prod(pixels)))
    nearest, below = (
        tuple(max(multiple, rounding(side * shrink / multiple) * multiple) for side in pixels)
        for rounding in (round, floor)
    )
    width, height = nearest if shrink == 1 and prod(nearest) <= most else below
    name = f"{width}x{height}"
    note = "" if (width, height) == pixels else f"Made at {name}, the nearest size of this model."
    return NativeSize(width=width, height=height, aspect=f"{width}:{height}", resolution=name, note=note)
