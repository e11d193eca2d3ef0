"""The catalogue and the baked atlases."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polarlight.base.errors import UserError
from polarlight.worlds import atlas
from polarlight.worlds.catalogue import CATEGORIES, FOLDER, PLACES, SIZES, by_name, catalogue, tile_index
from polarlight.worlds.scene import COLOURS
from polarlight.worlds.words import HANGUL_SYLLABLES, LATIN_CHARACTERS


def test_the_catalogue_is_large_and_its_values_are_known_ones() -> None:
    entries = catalogue()
    assert len(entries) >= 260
    assert sum(entry.paintable for entry in entries) >= 60
    assert 70 <= sum(entry.core for entry in entries) <= 100
    for entry in entries:
        assert entry.category in CATEGORIES
        assert entry.place in PLACES
        assert entry.size in SIZES
        assert entry.colour is None or entry.colour in COLOURS
        assert re.fullmatch(r"[a-z][a-z -]*", entry.name), entry.name
        assert entry.plural == entry.plural.lower()


def test_no_two_entries_share_a_name_or_a_plural_and_no_synonym_names_another() -> None:
    entries = catalogue()
    assert len({entry.name for entry in entries}) == len({entry.plural for entry in entries}) == len(entries)
    assert len({entry.emoji for entry in entries}) == len(entries)
    names = set(by_name())
    assert not [word for entry in entries for word in entry.synonyms if word in names]


def test_the_catalogue_stands_one_entry_a_line() -> None:
    lines = (FOLDER / "catalogue.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(catalogue()) == len(tile_index())
    assert all(json.loads(line)["name"] for line in lines)


def test_the_baked_files_stay_within_six_mebibytes_and_bring_their_notice() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 6 * 2**20
    notice = (FOLDER / "NOTICE").read_text(encoding="utf-8")
    assert all(name in notice for name in ("Noto", "DejaVu", "Liberation", "Nanum", "SIL Open Font License"))


def test_baked_extents_are_those_of_the_pixels() -> None:
    sheet = np.asarray(Image.open(FOLDER / "pictures.webp").convert("RGBA"))[..., 3]
    columns = sheet.shape[1] // atlas.TILE
    for tile in range(0, len(catalogue()), 7):
        row, column = divmod(tile, columns)
        cell = sheet[row * atlas.TILE : (row + 1) * atlas.TILE, column * atlas.TILE : (column + 1) * atlas.TILE]
        ys, xs = np.nonzero(cell > 127)
        found = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        baked = [(side + 0.5) * atlas.TILE for side in atlas.extent(tile, 0, flip=False)]
        assert np.allclose(found, baked, atol=0.6), catalogue()[tile].name


def test_every_tile_keeps_a_clear_margin() -> None:
    alpha = atlas.picture_levels("cpu")[0][0, 3]
    rows, columns = alpha.shape[0] // atlas.TILE, alpha.shape[1] // atlas.TILE
    tiles = alpha.view(rows, atlas.TILE, columns, atlas.TILE).permute(0, 2, 1, 3)
    inner = tiles.clone()
    pad = atlas.TILE_PAD
    inner[..., pad:-pad, pad:-pad] = 0
    assert inner.max() == 0


def test_mirroring_mirrors_the_extent_of_the_opposite_turn() -> None:
    x0, y0, x1, y1 = atlas.extent(3, 8, flip=True)
    assert (-x1, y0, -x0, y1) == pytest.approx(atlas.extent(3, -8, flip=False))


def test_every_font_writes_all_latin_and_two_write_every_hangul_syllable_of_the_words() -> None:
    assert len(atlas.fonts("latin")) >= 8
    assert len(atlas.fonts("hangul")) >= 2
    for font in atlas.fonts("latin"):
        assert atlas.text_width(LATIN_CHARACTERS, font) > 0
    for font in atlas.fonts("hangul"):
        assert len(atlas.place_glyphs(HANGUL_SYLLABLES, font)) == len(HANGUL_SYLLABLES)


def test_capitals_are_one_cap_height_high_in_every_font() -> None:
    sheet = atlas.glyph_levels("cpu")[0][0, 0]
    for font in atlas.fonts("latin"):
        glyph, _ = atlas.place_glyphs("H", font)[0]
        cell = sheet[glyph.y : glyph.y + glyph.height, glyph.x : glyph.x + glyph.width]
        rows = (cell > 0.5).any(1).nonzero()
        assert abs(int(rows.max() - rows.min()) + 1 - atlas.GLYPH_CAP) <= 2, font


def test_the_width_of_a_text_is_where_the_pen_ends() -> None:
    font = atlas.fonts("latin")[0]
    placed = atlas.place_glyphs("A B", font)
    assert len(placed) == 2
    assert placed[1][1] == pytest.approx(atlas.text_width("A ", font))


def test_an_unknown_letter_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="has no 'ß'"):
        atlas.place_glyphs("ß", atlas.fonts("latin")[0])


def test_only_the_baker_knows_fonts() -> None:
    folder = Path(atlas.__file__).parent
    users = {path.name for path in folder.glob("*.py") if "ImageFont" in path.read_text(encoding="utf-8")}
    assert users == {"bake.py"}
