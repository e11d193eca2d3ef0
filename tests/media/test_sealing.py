"""A sealed picture is marked, described and signed, and its mark outlives edits without growing."""

from pathlib import Path

import numpy as np
import pytest

from polarlight.base.errors import UserError
from polarlight.media.inspection import inspect
from polarlight.media.pictures import decode_picture, encode_picture, upright_pixels
from polarlight.media.provenance import read_provenance
from polarlight.media.sealing import SealedPicture, mark_of, mark_picture, number_borne, save_sealed, seal_picture
from polarlight.media.signing_identity import SigningIdentity
from polarlight.media.watermark import PUBLIC_KEY, detect

ABOUT = {"prompt": "a cat", "seed": 3, "mode": "speed"}


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> SigningIdentity:
    return SigningIdentity.open(tmp_path_factory.mktemp("operator"))


def hills(seed: int = 1, side: int = 128) -> np.ndarray:
    """A smooth picture, uint8 [side, side, 3]."""
    colours = np.random.default_rng(seed).uniform(60, 200, (2, 3))
    down = np.linspace(0, 1, side)[:, None, None]
    return np.broadcast_to(colours[0] * down + colours[1] * (1 - down), (side, side, 3)).round().astype(np.uint8)


def busy(seed: int = 1) -> np.ndarray:
    """A picture whose mark is found and whose number is not read, uint8 [128, 128, 3]."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(40, 216, (8, 8, 3)).repeat(16, 0).repeat(16, 1)
    return (rough + rng.integers(-3, 4, rough.shape)).astype(np.uint8)


def sealed(identity: SigningIdentity, pixels: np.ndarray | None = None, **more: object) -> SealedPicture:
    given = {"trace": "a job", "suffix": ".png", "identity": identity, "watermark_key": PUBLIC_KEY, **more}
    return seal_picture(hills() if pixels is None else pixels, ABOUT, **given)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_sealed_picture_says_who_made_it_with_what_and_bears_its_number(
    suffix: str, identity: SigningIdentity
) -> None:
    made = sealed(identity, suffix=suffix)
    found = inspect(made.content, identity.anchor)
    assert (found.credentials.state, found.credentials.manifest) == ("trusted", made.manifest)
    assert found.credentials.generator.startswith("Polarlight ")
    assert found.credentials.synthetic
    assert found.settings == dict(found.credentials.generation) == made.settings
    assert made.settings == {**ABOUT, "watermark": mark_of("a job")}
    assert found.watermark.payload == mark_of("a job")


def test_the_pixels_are_those_of_the_file(identity: SigningIdentity) -> None:
    made = sealed(identity)
    assert np.array_equal(upright_pixels(decode_picture(made.content, "it")), made.pixels)
    assert 0 < np.abs(made.pixels.astype(int) - hills()).max() < 16


def test_without_identity_and_key_only_the_settings_are_left() -> None:
    made = sealed(None, watermark_key=None)
    assert made.content == encode_picture(hills(), {**ABOUT, "watermark": None}, ".png")
    assert made.manifest == ""


def test_a_small_picture_says_that_it_bears_no_mark(identity: SigningIdentity) -> None:
    assert sealed(identity, hills()[:64]).settings["watermark"] is None


def test_a_parent_is_an_ingredient(identity: SigningIdentity) -> None:
    edited = sealed(identity, hills(2), trace="another", parent=sealed(identity).content)
    found = read_provenance(edited.content, identity.anchor)
    assert (found.parents, found.actions) == (("parent",), ("c2pa.opened", "c2pa.edited"))
    assert found.synthetic


def test_what_an_edit_leaves_keeps_every_bit_and_the_number() -> None:
    source, _ = mark_picture(hills(), "the first", PUBLIC_KEY)
    edited = source.copy()
    edited[40:90, 30:100] = hills(2)[40:90, 30:100]
    marked, number = mark_picture(edited, "the second", PUBLIC_KEY, source)
    left = (edited == source).all(-1)
    assert np.array_equal(marked[left], source[left])
    assert not np.array_equal(marked[~left], edited[~left])
    assert number == mark_of("the first") == detect(marked).payload


def test_the_mark_does_not_grow_with_the_number_of_edits() -> None:
    picture, first = mark_picture(hills(), "the first", PUBLIC_KEY)
    for turn in range(6):
        edited = picture.copy()
        edited[turn * 16 : turn * 16 + 32, 8:40] = hills(turn + 2)[:32, :32]
        picture, number = mark_picture(edited, f"edit {turn}", PUBLIC_KEY, picture)
        assert number == first == detect(picture).payload
    assert np.array_equal(picture[:, 64:], mark_picture(hills(), "the first", PUBLIC_KEY)[0][:, 64:])


def test_an_edit_of_a_picture_without_a_mark_is_marked_all_over() -> None:
    marked, number = mark_picture(hills(), "an edit", PUBLIC_KEY, hills())
    assert number == mark_of("an edit") == detect(marked).payload


def test_a_number_that_cannot_be_read_still_keeps_what_an_edit_leaves() -> None:
    source, _ = mark_picture(busy(), "a job", PUBLIC_KEY)
    assert (detect(source).found, detect(source).payload) == (True, None)
    edited = source.copy()
    edited[:40] = 128
    marked, number = mark_picture(edited, "an edit", PUBLIC_KEY, source)
    assert number == mark_of("an edit")
    assert np.array_equal(marked[40:], source[40:])
    assert not np.array_equal(marked[:40], edited[:40])


def test_the_credentials_of_the_parent_name_its_number_where_no_detector_finds_it(identity: SigningIdentity) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (128, 128, 3), np.uint8)
    parent = sealed(identity, noise)
    assert not detect(parent.pixels).found
    edited = parent.pixels.copy()
    edited[:40] = 128
    made = sealed(identity, edited, trace="an edit", parent=parent.content, source=parent.pixels)
    assert made.settings["watermark"] == parent.settings["watermark"]
    assert np.array_equal(made.pixels[40:], parent.pixels[40:])


@pytest.mark.parametrize("case", ["resized", "stranger", "unsigned"])
def test_credentials_name_no_number_of_another_picture_nor_by_a_stranger(
    case: str, identity: SigningIdentity, tmp_path: Path
) -> None:
    parent = sealed(SigningIdentity.open(tmp_path) if case == "stranger" else None if case == "unsigned" else identity)
    source = parent.pixels[::2, ::2] if case == "resized" else parent.pixels
    assert number_borne(source, parent.content, identity.anchor) is None
    own = sealed(identity)
    assert number_borne(own.pixels, own.content, identity.anchor) == mark_of("a job")


def test_a_source_of_another_size_is_not_compared() -> None:
    _, number = mark_picture(hills(), "an edit", PUBLIC_KEY, hills(side=96))
    assert number == mark_of("an edit")


def test_the_same_picture_keeps_its_name_though_its_signature_is_new(tmp_path: Path, identity: SigningIdentity) -> None:
    first, again = sealed(identity), sealed(identity)
    assert first.content != again.content
    names = [save_sealed(tmp_path / "cat.png", each, identity.anchor).name for each in (first, again)]
    assert names == ["cat.png", "cat.png"]


@pytest.mark.parametrize("what", ["other pixels", "other settings", "unsigned", "no picture", "altered", "a folder"])
def test_anything_else_under_the_name_is_kept(what: str, tmp_path: Path, identity: SigningIdentity) -> None:
    made = sealed(identity)
    there = {
        "other pixels": sealed(identity, hills(2)).content,
        "other settings": sealed(identity, trace="another").content,
        "unsigned": encode_picture(made.pixels, made.settings, ".png"),
        "no picture": b"notes",
        "altered": made.content.replace(b"a cat", b"a cut"),
    }
    place = tmp_path / "cat.png"
    if what == "a folder":
        place.mkdir()
    else:
        place.write_bytes(there[what])
    assert save_sealed(place, made, identity.anchor) == tmp_path / "cat-2.png"
    assert place.is_dir() or place.read_bytes() == there[what]


def test_an_unknown_format_is_a_users_mistake(identity: SigningIdentity) -> None:
    with pytest.raises(UserError, match=r"Cannot write pictures as '.gif'"):
        sealed(identity, suffix=".gif")
