"""The pictographs of the posters world: what each is called, how big the thing is, where it lives, whether paint suits it.

Names follow the Unicode CLDR short names of the emoji, shortened to everyday nouns ("car" for "automobile"). The entries
stand one a line in `atlas/catalogue.jsonl`; the tiles of the picture atlas follow the same order.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "atlas"
CATEGORIES = ("animal", "food", "vehicle", "plant", "building", "object", "person", "sky")
PLACES = ("ground", "air", "water", "indoors")
SIZES = ("small", "medium", "large")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One pictograph."""

    emoji: str
    name: str  # canonical noun, lower case
    plural: str
    synonyms: tuple[str, ...]
    category: str  # one of CATEGORIES
    size: str  # class of the real thing, one of SIZES
    place: str  # where it belongs, one of PLACES; things of "indoors" may stand anywhere
    colour: str | None  # the colour it clearly has of its own
    paintable: bool  # another colour makes sense
    core: bool  # among the most common, drawn half of the time


@functools.cache
def catalogue() -> tuple[Entry, ...]:
    """All entries, in the order of the tiles."""
    lines = (FOLDER / "catalogue.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(Entry(**{**entry, "synonyms": tuple(entry["synonyms"])}) for entry in map(json.loads, lines))


@functools.cache
def by_name() -> dict[str, Entry]:
    """Canonical name -> entry."""
    return {entry.name: entry for entry in catalogue()}


@functools.cache
def tile_index() -> dict[str, int]:
    """Canonical name -> index of its tile in the picture atlas."""
    return {entry.name: index for index, entry in enumerate(catalogue())}
