"""An operator's identity is made once, kept safe, and said to be unusable in a sentence."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from polarlight.base.errors import UserError
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


def test_the_signature_is_that_of_the_leaf(tmp_path: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    identity = SigningIdentity.open(tmp_path, "Studio Nord")
    signature = identity.sign(b"data")
    assert len(signature) == 64
    leaf = x509.load_pem_x509_certificates(identity.chain.encode())[0]
    numbers = [int.from_bytes(signature[:32]), int.from_bytes(signature[32:])]
    leaf.public_key().verify(encode_dss_signature(*numbers), b"data", ec.ECDSA(hashes.SHA256()))
    assert "Studio Nord" in leaf.subject.rfc4514_string()


@pytest.mark.parametrize("name", ["key.pem", "chain.pem"])
def test_a_damaged_file_is_a_users_mistake(tmp_path: Path, name: str) -> None:
    SigningIdentity.open(tmp_path)
    (tmp_path / "signing" / name).write_text("nothing", encoding="ascii")
    with pytest.raises(UserError, match="cannot be read"):
        SigningIdentity.open(tmp_path)
