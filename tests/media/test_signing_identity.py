"""An operator's identity is made once, kept safe, and said to be unusable in a sentence."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("cryptography")

from polarlight.base.errors import UserError
from polarlight.media.pictures import encode_picture
from polarlight.media.provenance import sign
from polarlight.media.signing_identity import SigningIdentity


def test_an_identity_is_made_once(tmp_path: Path) -> None:
    first, second = SigningIdentity.open(tmp_path), SigningIdentity.open(tmp_path)
    assert (first.chain, first.anchor) == (second.chain, second.anchor)
    assert first.chain.count("BEGIN CERTIFICATE") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["signing"]


def test_only_the_owner_can_read_the_key(tmp_path: Path) -> None:
    SigningIdentity.open(tmp_path)
    key = tmp_path / "signing" / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    os.chmod(key, 0o644)
    with pytest.raises(UserError, match=r"Others can read .* chmod 600"):
        SigningIdentity.open(tmp_path)


def test_processes_that_start_together_get_one_identity(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        anchors = set(pool.map(lambda _: SigningIdentity.open(tmp_path).anchor, range(4)))
    assert len(anchors) == 1


def test_the_certificate_names_the_organisation_and_belongs_to_the_key(tmp_path: Path) -> None:
    from cryptography import x509

    identity = SigningIdentity.open(tmp_path, "Studio Nord")
    leaf = x509.load_pem_x509_certificates(identity.chain.encode())[0]
    assert "Studio Nord" in leaf.subject.rfc4514_string()
    stranger = SigningIdentity.open(tmp_path / "stranger")
    (tmp_path / "signing" / "key.pem").write_text(stranger.key, encoding="ascii")
    with pytest.raises(UserError, match="the key is not the certificate's"):
        SigningIdentity.open(tmp_path)


def test_the_key_is_not_printed(tmp_path: Path) -> None:
    assert "PRIVATE KEY" not in repr(SigningIdentity.open(tmp_path))


def test_an_expired_certificate_says_so_at_the_start_or_when_it_signs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "polarlight.media.signing_identity.YEARS", 0.5 / (365 * 24)
    )  # half an hour, and it starts one hour ago
    with pytest.raises(UserError, match="has expired"):
        SigningIdentity.open(tmp_path)
    picture = encode_picture(np.zeros((16, 16, 3), np.uint8), {}, ".png")
    with pytest.raises(UserError, match="has expired"):
        sign(picture, SigningIdentity.open(tmp_path, check=False), {})


@pytest.mark.parametrize("name", ["key.pem", "chain.pem"])
def test_a_damaged_file_is_a_users_mistake(tmp_path: Path, name: str) -> None:
    SigningIdentity.open(tmp_path)
    (tmp_path / "signing" / name).write_text("nothing", encoding="ascii")
    with pytest.raises(UserError, match="cannot be read"):
        SigningIdentity.open(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        sign(
            encode_picture(np.zeros((16, 16, 3), np.uint8), {}, ".png"), SigningIdentity.open(tmp_path, check=False), {}
        )


def test_reading_an_identity_needs_no_library_and_little_time(tmp_path: Path) -> None:
    SigningIdentity.open(tmp_path)
    program = f"""import sys
from polarlight.media.signing_identity import SigningIdentity
SigningIdentity.open({str(tmp_path)!r}, check=False)
assert "cryptography" not in sys.modules"""
    subprocess.run([sys.executable, "-c", program], check=True)
