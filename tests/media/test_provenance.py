"""Signed files verify, changed ones are reported, parents stay inside."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("c2pa")

from polarlight.base.errors import UserError
from polarlight.media.pictures import encode_picture
from polarlight.media.provenance import media_type, read_provenance, sign
from polarlight.media.signing_identity import SigningIdentity

SETTINGS = {"prompt": "eine Katze, 고양이", "model": "polarlight-image", "seed": 7}


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> SigningIdentity:
    return SigningIdentity.open(tmp_path_factory.mktemp("operator"), "Studio Nord")


def video() -> bytes:
    """The smallest MP4 file that holds a movie header and some bytes of data."""

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", 8 + len(content)) + kind + content

    header = struct.pack(">IIIII", 0, 0, 0, 1000, 0) + struct.pack(">IHH8x", 0x10000, 0x100, 0)
    header += struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000) + bytes(24) + struct.pack(">I", 1)
    data = bytes(range(256)) * 8
    return box(b"ftyp", b"isom\0\0\2\0isommp42") + box(b"moov", box(b"mvhd", header)) + box(b"mdat", data)


def picture(suffix: str, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    return encode_picture(pixels, {"prompt": "a cat"}, suffix)


def media(kind: str) -> bytes:
    return video() if kind == ".mp4" else picture(kind)


KINDS = [".png", ".jpg", ".webp", ".mp4"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_signed_file_says_who_made_it_and_how(kind: str, identity: SigningIdentity) -> None:
    signed = sign(media(kind), identity, SETTINGS)
    found = read_provenance(signed, identity.anchor)
    assert (found.state, found.problems) == ("trusted", ())
    assert found.signer == "Studio Nord signer, Studio Nord"
    assert dict(found.generation) == SETTINGS
    assert found.actions == ("c2pa.created",)
    assert (found.generated, found.synthetic) == (True, True)
    assert len(signed) - len(media(kind)) < 5_000


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_of_the_content_is_reported(kind: str, identity: SigningIdentity) -> None:
    content = media(kind)
    signed = bytearray(sign(content, identity, SETTINGS))
    place = bytes(signed).index(content[-200:-100]) + 50  # among the pixels, wherever the manifest was put
    signed[place] ^= 1
    found = read_provenance(bytes(signed), identity.anchor)
    assert found.state == "altered"
    assert found.problems


def test_a_changed_claim_is_reported(identity: SigningIdentity) -> None:
    signed = sign(picture(".png"), identity, SETTINGS)
    assert signed.count(b"polarlight-image") == 1
    found = read_provenance(signed.replace(b"polarlight-image", b"polarlight-imagf"), identity.anchor)
    assert found.state == "altered"


def test_an_unknown_signer_is_valid_but_not_trusted(identity: SigningIdentity, tmp_path: Path) -> None:
    signed = sign(picture(".png"), identity, SETTINGS)
    other = SigningIdentity.open(tmp_path)
    assert read_provenance(signed).state == "valid"
    assert read_provenance(signed, other.anchor).state == "valid"


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp"])
def test_a_file_without_credentials_has_none(kind: str) -> None:
    assert read_provenance(media(kind)) is None


def test_an_edit_keeps_its_parent(identity: SigningIdentity) -> None:
    parent = sign(picture(".png"), identity, SETTINGS)
    found = read_provenance(sign(picture(".png", 1), identity, SETTINGS, parent=parent), identity.anchor)
    assert found.state == "trusted"
    assert found.actions == ("c2pa.opened", "c2pa.edited")
    assert found.parents == ("parent",)
    assert found.synthetic


def test_an_edit_of_a_photograph_is_never_purely_synthetic_again(identity: SigningIdentity) -> None:
    photograph = picture(".jpg")
    edit = sign(picture(".png", 1), identity, SETTINGS, parent=photograph)
    again = sign(picture(".png", 2), identity, SETTINGS, parent=edit)
    for content in (edit, again):
        found = read_provenance(content, identity.anchor)
        assert (found.state, found.generated, found.synthetic) == ("trusted", True, False)


def test_an_altered_parent_is_named_so(identity: SigningIdentity) -> None:
    parent = bytearray(sign(picture(".png"), identity, SETTINGS))
    parent[-40] ^= 1
    found = read_provenance(sign(picture(".png", 1), identity, SETTINGS, parent=bytes(parent)), identity.anchor)
    assert found.parents == ("parent (altered)",)
    assert not found.synthetic


def test_another_format_is_refused(identity: SigningIdentity) -> None:
    for content in (b"", b"GIF89a", b"hello", bytes(4) + b"ftypavif" + bytes(40)):
        with pytest.raises(UserError, match="neither PNG"):
            media_type(content)


def test_without_the_library_signing_says_what_to_install(
    identity: SigningIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(UserError, match=r"need the library c2pa-python.*polarlight\[c2pa\]"):
        sign(picture(".png"), identity, SETTINGS)
