"""Every output on its way out, in one place: mark, settings, content credentials, the gate's word."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polarlight.infer.engine import VideoResult
from polarlight.infer.policy import Gate
from polarlight.infer.policy import Permit as GatePermit
from polarlight.media.pictures import encode_picture
from polarlight.media.provenance import read_provenance, sign
from polarlight.media.signing_identity import SigningIdentity
from polarlight.media.watermark import LEAST_SIDE, embed

from .clip_frames import sample_frames
from .stored_files import NewFile

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "mp4": "video/mp4"}


@dataclass(frozen=True, kw_only=True)
class Sealed:
    """A finished output. `allowed`: whether the gate lets it be seen; else `message` says why, and `content` must not leave."""

    content: bytes
    media_type: str
    suffix: str
    allowed: bool
    message: str
    pdq: str

    def as_file(self, name: str, purpose: str, expires_in_s: float | None) -> NewFile:
        """What the store is given."""
        return NewFile(
            filename=name, content=self.content, content_type=self.media_type, purpose=purpose,
            expires_in_s=expires_in_s, pdq=self.pdq or None,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The operator's gate, signature and mark; None switches one off. Every method blocks for some 50 ms: call it from a thread."""

    gate: Gate
    identity: SigningIdentity | None
    watermark_key: bytes | None = field(repr=False)

    def seal_picture(
        self,
        pixels: np.ndarray,
        about: Mapping[str, Any],
        *,
        permit: GatePermit,
        trace: str,
        form: str = "png",
        parent: bytes | None = None,
    ) -> Sealed:
        """Make a file of a picture, uint8 [h, w, 3], in the format `form` (png, jpeg, webp).

        `about` goes into the file's settings and its signed assertion; `trace` names the output, and the watermark
        carries its first 32 bits hashed; `parent` is the file it was made from. A picture with a side under 96 px is too
        small for the mark, and its settings say so.

        Raises:
            Refused: the permit was not spent.
            UserError: the settings are too long for the format, or the file cannot be signed.
        """
        mark = mark_of(trace) if self.watermark_key is not None and min(pixels.shape[:2]) >= LEAST_SIDE else None
        if mark is not None and self.watermark_key is not None:
            pixels = embed(pixels, mark, self.watermark_key)
        settings = {**about, "watermark": mark}
        content = encode_picture(pixels, settings, SUFFIXES[form])
        content, manifest = self._signed(content, settings, parent)
        verdict = self.gate.check_output(permit, pixels, manifest)
        return Sealed(
            content=content, media_type=MEDIA_TYPES[form], suffix=SUFFIXES[form], allowed=verdict.allowed,
            message=verdict.message, pdq=verdict.pdq,
        )  # fmt: skip

    def seal_clip(
        self, clip: VideoResult, about: Mapping[str, Any], *, permit: GatePermit, parent: bytes | None = None
    ) -> tuple[Sealed, list[np.ndarray]]:
        """Make a file of a clip; also returns the frames (first, middle, last) that the gate judged.

        A clip is signed; its frames carry no watermark, because marking them means encoding the whole clip again.

        Raises:
            Refused: the permit was not spent.
            UserError: the clip cannot be read or signed.
        """
        frames = sample_frames(clip.content)
        content, manifest = self._signed(clip.content, about, parent)
        verdicts = [self.gate.check_output(permit, frame, manifest) for frame in frames]
        worst = next((verdict for verdict in verdicts if not verdict.allowed), verdicts[0])
        sealed = Sealed(
            content=content, media_type=MEDIA_TYPES["mp4"], suffix=".mp4", allowed=worst.allowed,
            message=worst.message, pdq=verdicts[0].pdq,
        )  # fmt: skip
        return sealed, frames

    def _signed(self, content: bytes, about: Mapping[str, Any], parent: bytes | None) -> tuple[bytes, str]:
        """The signed file and its manifest's id."""
        if self.identity is None:
            return content, ""
        signed = sign(content, self.identity, about, parent=parent)
        found = read_provenance(signed, self.identity.anchor)
        assert found is not None, "a file just signed has credentials"
        return signed, found.manifest


def mark_of(trace: str) -> int:
    """The 32 bits that the watermark of an output carries."""
    return int.from_bytes(hashlib.sha256(trace.encode()).digest()[:4])
