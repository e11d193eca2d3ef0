"""A made picture becomes a file that says where it comes from: mark in the pixels, settings beside them, a signature over all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from ..base.errors import UserError
from ..base.files import atomic_write
from .pictures import decode_picture, encode_picture, settings_inside, upright_pixels
from .provenance import new_manifest, read_provenance, sign
from .signing_identity import SigningIdentity
from .watermark import LEAST_SIDE, detect, embed


@dataclass(frozen=True, kw_only=True, eq=False)
class SealedPicture:
    """A finished file. `pixels`: uint8 [h, w, 3], marked, as they were before a format with losses; `settings`: what the file
    says of itself, with the mark's number under "watermark"; `manifest`: the id of its credentials, empty where it has none."""

    content: bytes
    pixels: np.ndarray
    settings: dict[str, Any]
    manifest: str


def seal_picture(
    pixels: UInt8[np.ndarray, "h w 3"],
    about: Mapping[str, Any],
    *,
    trace: str,
    suffix: str,
    identity: SigningIdentity | None,
    watermark_key: bytes | None,
    parent: bytes | None = None,
    source: UInt8[np.ndarray, "_ _ 3"] | None = None,
) -> SealedPicture:
    """Mark, describe, encode and sign a picture; None for the identity or the key leaves that out.

    `about` goes into the file's settings and its signed assertion; `trace` names the output, and the mark is its number;
    `suffix` chooses the format (.png, .jpg, .webp); `parent` is the file that it was made from; `source`: see `mark_picture`.
    A picture with a side under 96 px is too small for the mark, and its settings say so.

    Raises:
        UserError: an unknown suffix, settings too long for the format, or a file that cannot be signed.
    """
    borne = None
    if source is not None and parent is not None and identity is not None:
        borne = number_borne(source, parent, identity.anchor)
    pixels, number = mark_picture(pixels, trace, watermark_key, source, borne)
    settings, manifest = {**about, "watermark": number}, ""
    content = encode_picture(pixels, settings, suffix)
    if identity is not None:
        manifest = new_manifest()
        content = sign(content, identity, settings, parent=parent, manifest=manifest)
    return SealedPicture(content=content, pixels=pixels, settings=settings, manifest=manifest)


def mark_picture(
    pixels: UInt8[np.ndarray, "h w 3"],
    trace: str,
    key: bytes | None,
    source: UInt8[np.ndarray, "_ _ 3"] | None = None,
    borne: int | None = None,
) -> tuple[UInt8[np.ndarray, "h w 3"], int | None]:
    """The marked picture and the mark's number; None where there is no key, or a side is under 96 px.

    source: the picture that an edit left as it was outside its mask; borne: the number it is known to bear, None to look for
    its mark. Where it bears one at this size, what was left keeps every bit, and the rest takes the same number, if it can be
    read: marks of several edits would add up until they show.
    """
    if key is None or min(pixels.shape[:2]) < LEAST_SIDE:
        return pixels, None
    number = mark_of(trace)
    if source is not None and source.shape == pixels.shape:
        found = None if borne is not None else detect(source, key)
        if found is None or (found.found and found.scale == 1.0):
            before = borne if found is None else found.payload
            number = number if before is None else before
            left = (pixels == source).all(-1, keepdims=True)
            return np.where(left, pixels, embed(pixels, number, key)), number
    return embed(pixels, number, key), number


def number_borne(source: UInt8[np.ndarray, "_ _ 3"], file: bytes, anchor: str) -> int | None:
    """The number of a picture's mark, where it is, pixel for pixel, a file whose trusted credentials name one.

    It needs no detector, which finds no mark in a picture that is all noise.
    """
    said = read_provenance(file, anchor)
    number = said.generation.get("watermark") if said is not None and said.state == "trusted" else None
    same = isinstance(number, int) and np.array_equal(upright_pixels(decode_picture(file, "the parent")), source)
    return number if same else None


def mark_of(trace: str) -> int:
    """The 32 bits that the mark of an output carries: the first of its trace's SHA-256."""
    return int.from_bytes(hashlib.sha256(trace.encode()).digest()[:4])


def save_sealed(path: str | Path, picture: SealedPicture, anchor: str) -> Path:
    """Write a sealed picture without losing another file: where `path` holds something else, "name-2.png" and so on.

    Returns the path. The very same picture with the same settings keeps its name, so that repeating a command does not
    multiply files: two signatures are never alike, so that pixels, settings and trust under `anchor` decide.

    Raises:
        UserError: the place cannot be written.
    """
    path = Path(path)
    chosen, number = path, 2
    while chosen.exists() and not (chosen.is_file() and _is_same(chosen.read_bytes(), picture, anchor)):
        chosen, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    atomic_write(chosen, picture.content)
    return chosen


def _is_same(content: bytes, picture: SealedPicture, anchor: str) -> bool:
    """Whether a file shows this very picture, says the same of it and is signed by one who is trusted."""
    try:
        found = decode_picture(content, "the file")
        same = settings_inside(found, "the file") == picture.settings
        own = decode_picture(picture.content, "the picture")
        said = read_provenance(content, anchor) if same else None
    except UserError:
        return False  # something else, or damaged
    return said is not None and said.state == "trusted" and np.array_equal(upright_pixels(found), upright_pixels(own))
