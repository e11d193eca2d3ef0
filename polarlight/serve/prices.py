"""What a request costs, in integer ticks: one US dollar is 10^10 ticks."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Any

from polarlight.base.errors import UserError
from polarlight.base.files import PACKAGE

TICKS_PER_DOLLAR = 10**10
SHIPPED = PACKAGE / "serve" / "prices.toml"
EVERY_MODEL = "*"


@dataclass(frozen=True, kw_only=True)
class ImagePrice:
    """One line of a model's price list."""

    quality: str
    resolution: str
    ticks: int


class Prices:
    """The price table: the shipped one with the operator's laid over it.

    A model without a table of its own costs what `"*"` says.
    """

    def __init__(self, operators_file: Path | None = None) -> None:
        """Read the tables.

        Raises:
            UserError: a file is not TOML, or a price is negative, not a number, or not a whole number of ticks.
        """
        self._table = in_ticks(read(SHIPPED), SHIPPED)
        if operators_file is not None:
            self._table = laid_over(self._table, in_ticks(read(operators_file), operators_file))

    @property
    def credit_at_creation(self) -> int:
        """Ticks that a new key starts with."""
        return self._entry("credits", "at_creation")

    @property
    def monthly_grant(self) -> int:
        """Ticks that a key sharing its data is given each month."""
        return self._entry("credits", "monthly_shared")

    def image(self, model: str, *, n: int = 1, resolution: str = "1k", quality: str = "low", inputs: int = 0) -> int:
        """Ticks for n pictures made from `inputs` given pictures; what is given is paid once, whatever n.

        Raises:
            UserError: the table has no price for this quality and resolution.
        """
        name = self._model("images", model)
        given = inputs * self._entry("images", name, "input") if inputs else 0
        return n * self._entry("images", name, quality, resolution) + given

    def image_list(self, model: str) -> tuple[ImagePrice, ...]:
        """Every quality and resolution that has a price, in the table's order."""
        table = self._table["images"][self._model("images", model)]
        return tuple(
            ImagePrice(quality=quality, resolution=resolution, ticks=ticks)
            for quality, row in table.items()
            if isinstance(row, dict)
            for resolution, ticks in row.items()
        )

    def video(
        self, model: str, *, seconds: float, resolution: str = "480p", inputs: int = 0, input_seconds: float = 0
    ) -> int:
        """Ticks for `seconds` of video made from `inputs` pictures and `input_seconds` of video; parts round up.

        Raises:
            UserError: the table has no price for this resolution.
        """
        name = self._model("videos", model)
        ticks = Decimal(str(seconds)) * self._entry("videos", name, "second", resolution)
        if inputs:
            ticks += inputs * self._entry("videos", name, "input")
        if input_seconds:
            ticks += Decimal(str(input_seconds)) * self._entry("videos", name, "input_second")
        return int(ticks.to_integral_value(ROUND_CEILING))

    def _model(self, section: str, model: str) -> str:
        return model if model in self._table.get(section, {}) else EVERY_MODEL

    def _entry(self, *path: str) -> int:
        found: Any = self._table
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        if not isinstance(found, int):
            raise UserError(
                f"The price table has no entry {' / '.join(path)}.",
                fix="Ask for another quality or resolution, or add the entry to the prices file.",
            )
        return found


def read(path: Path) -> dict[str, Any]:
    """A TOML file with its numbers exact."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file, parse_float=Decimal)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"Cannot read the prices file {path}: {error}.", fix="Correct the file.") from error


def in_ticks(table: dict[str, Any], path: Path, at: str = "") -> dict[str, Any]:
    """The table with each number of dollars as a whole number of ticks."""
    converted: dict[str, Any] = {}
    for name, value in table.items():
        place = f"{at}.{name}".lstrip(".")
        if isinstance(value, dict):
            converted[name] = in_ticks(value, path, place)
            continue
        number = isinstance(value, int | Decimal) and not isinstance(value, bool) and Decimal(value).is_finite()
        ticks = Decimal(value) * TICKS_PER_DOLLAR if number else Decimal(-1)
        if ticks < 0 or ticks != ticks.to_integral_value():
            raise UserError(
                f"{path}: {place} must be a number of dollars from zero up, and it is {value!r}.",
                fix="Write a number with ten decimals at most.",
            )
        converted[name] = int(ticks)
    return converted


def laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Both tables; where both have an entry, the upper one's."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        merged[name] = laid_over(under, value) if isinstance(value, dict) and isinstance(under, dict) else value
    return merged


def dollars(ticks: int) -> str:
    """Ticks as a price to read: `$0.02`, with as many decimals as it needs and two at least."""
    whole = f"{Decimal(ticks) / TICKS_PER_DOLLAR:.10f}".rstrip("0")
    units, _, decimals = whole.partition(".")
    return f"{'-' if ticks < 0 else ''}${units.lstrip('-')}.{decimals.ljust(2, '0')}"
