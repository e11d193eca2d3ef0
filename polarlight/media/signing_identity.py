"""An operator's signing certificate: an authority of its own and a leaf under it, made on first use.

The certificate profile is that of the C2PA specification, section 14.5: ES256, a leaf with the digital-signature use and
the e-mail-protection purpose, key identifiers on both.
"""

from __future__ import annotations

import datetime
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..base.errors import UserError
from ..base.files import write_error

FOLDER = "signing"
CHAIN, ANCHOR, KEY = "chain.pem", "anchor.pem", "key.pem"
YEARS = 10


@dataclass(frozen=True, kw_only=True)
class SigningIdentity:
    """What signs an operator's files; all of it is PEM.

    `chain`: leaf and authority; `anchor`: the authority alone, which readers are given to trust; `key`: the leaf's private
    key; `place`: the folder it was read from.
    """

    chain: str
    anchor: str
    key: str = field(repr=False)
    place: Path

    @classmethod
    def open(
        cls, folder: str | Path, organisation: str = "Polarlight operator", *, check: bool = True
    ) -> SigningIdentity:
        """Read the identity under `folder`/signing, or make one there; the key file has mode 600.

        The authority's key is not kept: an operator with a certificate of a public authority puts that chain, anchor and
        key in the same three files. Without `check`, which takes 35 ms, a damaged or expired identity is found when it
        first fails to sign.

        Raises:
            UserError: `cryptography` is missing, a file is unreadable, others may read the key, or as `check`.
        """
        place = Path(folder) / FOLDER
        if not place.exists():
            _make(place, organisation)
        identity = cls._read(place)
        if check:
            identity.check()
        return identity

    @classmethod
    def _read(cls, place: Path) -> SigningIdentity:
        key = place / KEY
        try:
            if os.name == "posix" and key.stat().st_mode & 0o077:
                raise UserError(f"Others can read the signing key {key}.", fix=f"Run: chmod 600 {key}")
            chain, anchor, secret = ((place / name).read_text(encoding="ascii") for name in (CHAIN, ANCHOR, KEY))
        except (OSError, ValueError) as error:
            raise _unreadable(place, error) from error
        return cls(chain=chain, anchor=anchor, key=secret, place=place)

    def check(self) -> None:
        """Nothing where the key and the certificate can be used.

        Raises:
            UserError: `cryptography` is missing, a file is damaged, the key is another certificate's, or the certificate
                has expired.
        """
        x509, _, serialization, _ = _library()
        try:
            leaf = x509.load_pem_x509_certificates(self.chain.encode())[0]
            x509.load_pem_x509_certificates(self.anchor.encode())
            key = serialization.load_pem_private_key(self.key.encode(), None)
            if key.public_key() != leaf.public_key():
                raise ValueError("the key is not the certificate's")
        except (ValueError, TypeError) as error:
            raise _unreadable(self.place, error) from error
        if leaf.not_valid_after_utc < datetime.datetime.now(datetime.UTC):
            raise UserError(
                f"The signing certificate in {self.place} has expired.",
                fix="Move the folder away and let a new identity be made; keep the old anchor for old files.",
            )


def _unreadable(place: Path, error: Exception) -> UserError:
    return UserError(
        f"The signing identity in {place} cannot be read: {error}.",
        fix="Put its files back, or remove the folder and let a new identity be made.",
    )


def _library() -> tuple[Any, Any, Any, Any]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise UserError(
            "Signing needs the library cryptography.", fix="Install it with: pip install 'polarlight[c2pa]'."
        ) from error
    return x509, hashes, serialization, ec


def _make(place: Path, organisation: str) -> None:
    """Write a new identity beside `place` and move it there in one step; where another process was first, its one stays."""
    _, _, serialization, ec = _library()
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    names = f"{organisation} authority", f"{organisation} signer"
    authority = _certificate(names[0], names[0], organisation, authority_key, authority_key, is_authority=True)
    leaf = _certificate(names[1], names[0], organisation, key, authority_key, is_authority=False)
    anchor, own = (one.public_bytes(serialization.Encoding.PEM) for one in (authority, leaf))
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".signing-", dir=place.parent) as temporary:
            made = Path(temporary) / FOLDER
            made.mkdir(mode=0o700)
            for name, content, mode in ((CHAIN, own + anchor, 0o644), (ANCHOR, anchor, 0o644), (KEY, secret, 0o600)):
                handle = os.open(made / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    os.fsync(file.fileno())
            try:
                made.rename(place)
            except OSError:
                if not place.exists():
                    raise
    except OSError as error:
        raise write_error(place, error) from error


def _certificate(name: str, issuer: str, organisation: str, key: Any, issuer_key: Any, *, is_authority: bool) -> Any:
    x509, hashes, _, _ = _library()
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def subject(common_name: str) -> Any:
        parts = ((NameOID.ORGANIZATION_NAME, organisation), (NameOID.COMMON_NAME, common_name))
        return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts])

    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)  # clocks differ
    use = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage = x509.KeyUsage(digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority, **use)
    issuer_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject(name))
        .issuer_name(subject(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer_id, critical=False)
        .add_extension(usage, critical=True)
    )
    if not is_authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
