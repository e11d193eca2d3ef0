"""Content credentials (C2PA): who made a file, with what, from which parent, signed so that a changed byte shows.

The library is `c2pa-python` (extra `[c2pa]`). An operator signs with a certificate of its own, made on first use; viewers
elsewhere show it as an unknown signer until they are given the operator's anchor. Specification: C2PA 2.4, with the
`digitalSourceType` terms of IPTC.
"""

from __future__ import annotations

import io
import json
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from .. import __version__
from ..base.errors import UserError
from .signing_identity import SigningIdentity

GENERATION = "org.polarlight.generation"  # the assertion that carries prompt, model and seed
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED = SOURCE_TYPES + "trainedAlgorithmicMedia"
STILL_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1")  # pictures in the container of MP4
COMPOSITE = SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"  # a model's work on a picture that no model made


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What a file's credentials say.

    `state`: "trusted" (unchanged, signed under one of the given anchors), "valid" (unchanged, signer unknown) or "altered";
    `problems`: the codes of the C2PA specification for what failed; `signer`: common name and organisation of the
    certificate; `manifest`: the identifier of the manifest; `generator`: name and version of the program that signed;
    `generated`: the file says that a model made it or took part; `synthetic`: it says that nothing but a model made it,
    through every edit; `generation`: Polarlight's own assertion;
    `actions`: what was done, in order; `parents`: titles of the files it was made from, with "(altered)" where a parent's
    own credentials did not hold when it was taken in; `training`: the author's word on training and mining.

    Not every byte of a file is covered: about 1 KB is padding that the format keeps free behind the signature.
    """

    state: str
    signer: str
    manifest: str
    generated: bool
    generator: str = ""
    synthetic: bool = False
    problems: tuple[str, ...] = ()
    generation: Mapping[str, Any] = field(default_factory=dict)
    actions: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)


def media_type(content: bytes) -> str:
    """The media type of PNG, JPEG, WebP or MP4 bytes, by their first bytes.

    Raises:
        UserError: it is none of them.
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    if content[4:8] == b"ftyp" and content[8:12] not in STILL_BRANDS:
        return "video/mp4"
    raise UserError("The file is neither PNG, JPEG, WebP nor MP4.", fix="Give a file of one of these formats.")


class Signers(threading.local):
    """The library's signers, a thread's own, since making one takes as long as signing; by identity and time stamp authority."""

    def __init__(self) -> None:
        self.ready: dict[tuple[SigningIdentity, str | None], Any] = {}


SIGNERS = Signers()


def new_manifest() -> str:
    """An identifier for a manifest that is to be signed."""
    return f"urn:c2pa:{uuid.uuid4()}"


def sign(
    content: bytes,
    identity: SigningIdentity,
    generation: Mapping[str, Any],
    *,
    title: str = "",
    parent: bytes | None = None,
    timestamp_url: str | None = None,
    manifest: str | None = None,
) -> bytes:
    """The file with signed credentials, about 4 KB longer.

    `generation` is plain JSON (prompt, model, seed, ...) and public with the file. `parent` is the file that was edited:
    it becomes an ingredient, its own credentials stay inside. `timestamp_url` is an RFC 3161 time stamp authority; without
    one the signature counts only while the certificate is valid. `manifest` is what the manifest is called, see `new_manifest`.

    The first file that a thread signs for an identity is read back, and must be trusted. Reading back every one would take longer
    than signing; an expired certificate fails to sign.

    Raises:
        UserError: c2pa-python is missing, an unknown format, a file that cannot be signed, or an identity that cannot sign.
    """
    c2pa, kind, given = _library(), media_type(content), (identity, timestamp_url)
    definition = {
        "label": manifest or new_manifest(),
        "claim_generator_info": [{"name": "Polarlight", "version": __version__}],
        "title": title,
        "assertions": [
            {"label": "c2pa.actions", "data": {"actions": _actions(parent)}},
            {"label": GENERATION, "data": dict(generation)},
        ],
    }
    signed, signer = io.BytesIO(), SIGNERS.ready.get(given)
    # thumbnails would cost 300 ms and 400 KB a picture
    chosen = {"builder": {"thumbnail": {"enabled": False}}, "verify": {"verify_after_sign": False}}
    try:
        if new := signer is None:
            signer = _signer(identity, timestamp_url)
        with (
            c2pa.Context(c2pa.Settings.from_dict(chosen)) as context,
            c2pa.Builder(definition, context=context) as builder,
        ):
            if parent is not None:
                ingredient = {"title": "parent", "relationship": "parentOf", "label": "parent"}
                builder.add_ingredient(ingredient, media_type(parent), io.BytesIO(parent))
            builder.sign(signer, kind, io.BytesIO(content), signed)
    except c2pa.C2paError as error:
        identity.check()
        raise UserError(f"The file cannot be signed: {error}.", fix="Write it again, then sign it.") from error
    if new:
        written = read_provenance(signed.getvalue(), identity.anchor)
        if written is None or written.state != "trusted":
            identity.check()
            raise AssertionError(f"a file just signed does not verify: {written}")
        SIGNERS.ready[given] = signer
    return signed.getvalue()


def _signer(identity: SigningIdentity, timestamp_url: str | None) -> Any:
    c2pa = _library()
    secret = c2pa.C2paSignerInfo(
        alg=b"es256", sign_cert=identity.chain.encode(), private_key=identity.key.encode(),
        ta_url=timestamp_url.encode() if timestamp_url else None,
    )  # fmt: skip
    return c2pa.Signer.from_info(secret)


def read_provenance(content: bytes, anchors: str = "") -> Provenance | None:
    """What the credentials inside a file say, None where it has none.

    `anchors`: certificates in PEM whose signatures count as trusted.

    Raises:
        UserError: c2pa-python is missing, or an unknown format.
    """
    c2pa = _library()
    kind = media_type(content)
    settings: dict[str, Any] = {"verify": {"verify_trust": True, "remote_manifest_fetch": False}}
    if anchors:
        settings["trust"] = {"user_anchors": anchors}
    try:
        with (
            c2pa.Context(c2pa.Settings.from_dict(settings)) as context,
            c2pa.Reader(kind, io.BytesIO(content), context=context) as reader,
        ):
            store = json.loads(reader.json())
    except c2pa.C2paError.ManifestNotFound:
        return None
    except c2pa.C2paError as error:
        if b"jumb" not in content:
            return None  # damaged, but without the boxes that hold credentials
        return Provenance(state="altered", signer="", manifest="", generated=False, problems=(str(error),))
    return _provenance(store)


def _library() -> ModuleType:
    try:
        import c2pa
    except ImportError as error:
        raise UserError(
            "Content credentials need the library c2pa-python.", fix="Install it with: pip install 'polarlight[c2pa]'."
        ) from error
    return c2pa


def _actions(parent: bytes | None) -> list[dict[str, Any]]:
    if parent is None:
        return [{"action": "c2pa.created", "digitalSourceType": GENERATED}]
    before = read_provenance(parent)
    kind = GENERATED if before is not None and before.synthetic and before.state != "altered" else COMPOSITE
    return [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": ["parent"]}},
        {"action": "c2pa.edited", "digitalSourceType": kind},
    ]


def _provenance(store: dict[str, Any]) -> Provenance:
    manifest = store["manifests"][store["active_manifest"]]
    data = {one["label"]: one.get("data") or {} for one in manifest.get("assertions", [])}
    actions = [act for label, one in data.items() if label.startswith("c2pa.actions") for act in one.get("actions", [])]
    kinds = {act["digitalSourceType"] for act in actions if act.get("digitalSourceType")}
    certificate = manifest.get("signature_info") or {}
    maker: dict[str, str] = next(iter(manifest.get("claim_generator_info") or []), {})
    names = [certificate.get(part) for part in ("common_name", "issuer")]
    failed = store.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    states = {"Trusted": "trusted", "Valid": "valid"}
    training = next((one for label, one in data.items() if label.endswith("training-mining")), {})
    return Provenance(
        state=states.get(store.get("validation_state", ""), "altered"),
        signer=", ".join(dict.fromkeys(name for name in names if name)),
        manifest=manifest.get("label", store["active_manifest"]),
        generator=" ".join(filter(None, (maker.get("name"), maker.get("version")))),
        generated=bool(kinds & {GENERATED, COMPOSITE}),
        synthetic=kinds == {GENERATED},
        problems=tuple(dict.fromkeys(one["code"] for one in failed)),
        generation=data.get(GENERATION, {}),
        actions=tuple(act["action"] for act in actions),
        parents=tuple(_parent(one) for one in manifest.get("ingredients", [])),
        training=training,
    )


def _parent(ingredient: dict[str, Any]) -> str:
    failed = ingredient.get("validation_results", {}).get("activeManifest", {}).get("failure", [])
    altered = any(one["code"] != "signingCredential.untrusted" for one in failed)
    return ingredient.get("title", "untitled") + (" (altered)" if altered else "")
