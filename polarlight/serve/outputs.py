"""Every output on its way out, in one place: mark, settings, content credentials, the gate's word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from polarlight.infer.engine import VideoResult
from polarlight.infer.policy import Gate
from polarlight.infer.policy import Permit as GatePermit
from polarlight.media.clip_watermark import mark_clip
from polarlight.media.clips import clip_facts, rewrite_clip, sample_frames
from polarlight.media.provenance import new_manifest, sign
from polarlight.media.sealing import mark_of, seal_picture
from polarlight.media.signing_identity import SigningIdentity
from polarlight.media.watermark import LEAST_SIDE

from .stored_files import NewFile

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "mp4": ".mp4"}
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
    """The operator's gate, signature and mark; None switches one off.

    Every method blocks, for 2 to 50 ms and for clips longer: call it from a thread.
    """

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
        source: np.ndarray | None = None,
    ) -> Sealed:
        """Make a file of a picture, uint8 [h, w, 3], in the format `form` (png, jpeg, webp).

        `about` goes into the file's settings and its signed assertion; `trace` names the output, and the watermark
        carries its first 32 bits hashed; `parent` is the file it was made from, `source` what a mask kept of it, whose mark
        stays. A picture with a side under 96 px is too small for the mark, and its settings say so.

        Raises:
            Refused: the permit was not spent.
            UserError: the settings are too long for the format, or the file cannot be signed.
        """
        made = seal_picture(
            pixels, about, trace=trace, suffix=SUFFIXES[form], identity=self.identity, watermark_key=self.watermark_key,
            parent=parent, source=source,
        )  # fmt: skip
        return self._judged(made.content, form, made.pixels, permit, made.manifest)

    def seal_preview(
        self, pixels: np.ndarray, about: Mapping[str, Any], *, permit: GatePermit, trace: str, form: str = "png"
    ) -> Sealed:
        """The same of a picture that is not finished. It is marked and judged like one, and not signed.

        A signature says how a finished work came about; a preview lives for seconds, and its mark and settings name its
        origin. Leaving it out saves 3 ms of 9 to 12 for a picture of 256 px.

        Raises:
            Refused, UserError: as `seal_picture`.
        """
        made = seal_picture(
            pixels, about, trace=trace, suffix=SUFFIXES[form], identity=None, watermark_key=self.watermark_key
        )
        return self._judged(made.content, form, made.pixels, permit, "")

    def seal_clip(
        self,
        clip: VideoResult,
        about: Mapping[str, Any],
        *,
        permit: GatePermit,
        trace: str,
        parent: bytes | None = None,
    ) -> tuple[Sealed, list[np.ndarray]]:
        """Make a file of a clip; also returns the frames (first, middle, last) that the gate judged.

        The clip is encoded again with the mark in every frame and `about` in its container; arguments and smallest side
        are those of `seal_picture`.

        Raises:
            Refused: the permit was not spent.
            UserError: the clip cannot be read or signed.
        """
        facts = clip_facts(clip.content)
        mark = self._mark(trace, min(facts.width, facts.height))
        settings = {**about, "watermark": mark}
        if mark is not None and self.watermark_key is not None:
            content = mark_clip(clip.content, mark, self.watermark_key, settings)
        else:
            content = rewrite_clip(clip.content, None, settings)
        frames = sample_frames(content)
        content, manifest = self._signed(content, settings, parent)
        judged = [self._judged(content, "mp4", frame, permit, manifest) for frame in frames]
        withheld = next((each for each in judged if not each.allowed), judged[0])
        return replace(withheld, pdq=judged[0].pdq), frames

    def _mark(self, trace: str, side: int) -> int | None:
        """The number to mark an output with; None where marks are switched off, or `side`, the smaller one, is too small."""
        return mark_of(trace) if self.watermark_key is not None and side >= LEAST_SIDE else None

    def _signed(self, content: bytes, about: Mapping[str, Any], parent: bytes | None) -> tuple[bytes, str]:
        """The signed file and its manifest's id."""
        if self.identity is None:
            return content, ""
        manifest = new_manifest()
        return sign(content, self.identity, about, parent=parent, manifest=manifest), manifest

    def _judged(self, content: bytes, form: str, pixels: np.ndarray, permit: GatePermit, manifest: str) -> Sealed:
        """The file with the gate's word on what it shows."""
        verdict = self.gate.check_output(permit, pixels, manifest)
        return Sealed(
            content=content, media_type=MEDIA_TYPES[form], suffix=SUFFIXES[form], allowed=verdict.allowed,
            message=verdict.message, pdq=verdict.pdq,
        )  # fmt: skip
