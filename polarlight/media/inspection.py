"""What a file says about its making: credentials, settings of the programs that made it, watermark."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from ..base.errors import UserError
from .clip_watermark import ClipDetection, detect_clip
from .clips import clip_facts
from .pictures import KEY, decode_picture, settings_inside, upright_pixels
from .provenance import Provenance, media_type, read_provenance
from .watermark import PUBLIC_KEY, Detection, detect

LARGEST_TEXT = 1 << 20  # characters of another program's settings that are still read


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """`format`: media type; `width`, `height`: pixels (0 where they are not read); `bytes`: the file's length; `frames`,
    `seconds`: of a clip, 0 of a picture.

    `credentials`: None where the file has none, or where they could not be checked (`checked` is false, `notes` says why);
    `settings`: the prompt, seed and so on; `settings_from`: "polarlight", "a1111", "comfyui" or "" where none were found;
    `watermark`: None where the pixels are not read; `notes`: sentences on what could not be looked at.
    """

    format: str
    width: int
    height: int
    bytes: int
    frames: int = 0
    seconds: float = 0.0
    credentials: Provenance | None = None
    checked: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    settings_from: str = ""
    watermark: Detection | None = None
    notes: tuple[str, ...] = ()

    @property
    def generated(self) -> bool:
        """Whether anything in the file says that a model made it. Settings can be forged; see `proved`."""
        return self.proved or bool(self.settings_from) or bool(self.credentials and self.credentials.generated)

    @property
    def proved(self) -> bool:
        """Whether a trusted signature or the watermark says that a model made it."""
        signed = self.credentials is not None and self.credentials.state == "trusted" and self.credentials.generated
        return signed or (self.watermark is not None and self.watermark.found)

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON, with the sentences."""
        return {**asdict(self), "generated": self.generated, "proved": self.proved, "sentences": self.sentences()}

    def sentences(self) -> list[str]:
        """The findings in words, most trustworthy first."""
        size = f", {self.width} x {self.height} px" if self.width else ""
        if self.frames:
            size += f", {self.frames} frame{'s' * (self.frames > 1)} in {self.seconds:.2f} s"
        said = [f"This is {self.format}{size}, {self.bytes:,} bytes."]
        said += _credential_sentences(self.credentials) if self.checked else []
        if self.watermark is not None:
            said.append(_watermark_sentence(self.watermark))
        if self.settings_from:
            prompt = self.settings.get("prompt") or self.settings.get("instruction")
            said.append(f"It carries the settings of {_PROGRAMS[self.settings_from]}{f': {prompt}' if prompt else ''}.")
        return [*said, *self.notes]


_PROGRAMS = {"polarlight": "Polarlight", "a1111": "the A1111 web UI", "comfyui": "ComfyUI"}


def inspect(source: str | Path | bytes, anchors: str = "", watermark_key: bytes = PUBLIC_KEY) -> Inspection:
    """Look at a picture or an MP4 file.

    `anchors`: certificates in PEM whose signatures count as trusted; `watermark_key`: the key to look for.

    Raises:
        UserError: no such file, an unknown format, a picture or clip that is cut off, or a clip longer than ten minutes.
    """
    name = "the file" if isinstance(source, bytes) else str(source)
    content = source if isinstance(source, bytes) else _read(Path(source))
    kind, notes, credentials, checked = media_type(content), [], None, True
    try:
        credentials = read_provenance(content, anchors)
    except UserError as error:
        checked = False
        notes.append(f"Content credentials were not checked. {error}")
    known = {"format": kind, "bytes": len(content), "credentials": credentials, "checked": checked}
    look = _clip if kind == "video/mp4" else _picture
    try:
        return Inspection(**known, **look(content, name, watermark_key), notes=tuple(notes))
    except UserError as error:
        if credentials is None:
            raise
        return Inspection(width=0, height=0, notes=(*notes, error.sentence[:1].upper() + error.sentence[1:]), **known)


def _picture(content: bytes, name: str, key: bytes) -> dict[str, Any]:
    picture = decode_picture(content, name)
    program, settings = _settings(picture, name)
    return {
        "width": picture.width, "height": picture.height, "settings": settings, "settings_from": program,
        "watermark": detect(upright_pixels(picture), key),
    }  # fmt: skip


def _clip(content: bytes, name: str, key: bytes) -> dict[str, Any]:
    facts = clip_facts(content)
    return {
        "width": facts.width, "height": facts.height, "frames": facts.frames, "seconds": facts.seconds,
        "settings": facts.settings, "settings_from": KEY if facts.settings else "",
        "watermark": detect_clip(content, key),
    }  # fmt: skip


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.", fix="Check the path.") from error


def _settings(picture: Image.Image, name: str) -> tuple[str, dict[str, Any]]:
    """(program, settings) by the first of the three customs that the file follows."""
    if own := settings_inside(picture, name):
        return KEY, own
    texts = {key: text for key, text in getattr(picture, "text", {}).items() if len(text) <= LARGEST_TEXT}
    if "prompt" in texts and (graph := _graph(texts["prompt"])):
        return "comfyui", comfyui_settings(graph)
    parameters = texts.get("parameters") or _comment(picture)
    found = a1111_settings(parameters) if parameters else {}
    return ("a1111", found) if found else ("", {})


def a1111_settings(text: str) -> dict[str, Any]:
    """The settings in the text that A1111's web UI writes: prompt, negative prompt, a line of "Name: value" pairs.

    Empty where the last line has no "Steps:", which that program always writes.
    """
    body, _, last = text.strip().rpartition("\n")
    pairs = dict(re.findall(r'\s*([A-Z][\w /-]*):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)', last))
    if "Steps" not in pairs:
        return {}
    prompt, _, negative = body.partition("\nNegative prompt:")
    names = {"Seed": "seed", "Steps": "steps", "Sampler": "sampler", "CFG scale": "guidance", "Model": "model"}
    found = {"prompt": prompt.strip(), "negative_prompt": negative.strip()}
    found |= {own: _number(pairs[name]) for name, own in names.items() if name in pairs}
    return {key: value for key, value in found.items() if value != ""}


def comfyui_settings(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the first sampler node in a ComfyUI graph, with the texts that lead into it."""
    samplers = [node["inputs"] for node in graph.values() if {"positive", "seed"} <= set(_inputs(node))]
    noised = [node["inputs"] for node in graph.values() if {"positive", "noise_seed"} <= set(_inputs(node))]
    checkpoints = [node["inputs"]["ckpt_name"] for node in graph.values() if "ckpt_name" in _inputs(node)]
    found: dict[str, Any] = {"model": checkpoints[0]} if checkpoints else {}
    for sampler in (*samplers, *noised)[:1]:
        found |= {"prompt": _text_behind(graph, sampler["positive"])}
        found |= {"negative_prompt": _text_behind(graph, sampler.get("negative"))}
        names = {"seed": "seed", "noise_seed": "seed", "steps": "steps", "cfg": "guidance", "sampler_name": "sampler"}
        found |= {own: sampler[name] for name, own in names.items() if isinstance(sampler.get(name), (int, float, str))}
    return {key: value for key, value in found.items() if value != ""}


def _text_behind(graph: Mapping[str, Any], link: Any) -> str:
    """The text of the first node with one, going up a link [node, output]."""
    seen: set[str] = set()
    while isinstance(link, list) and link and str(link[0]) in graph and str(link[0]) not in seen:
        seen.add(str(link[0]))
        inputs = _inputs(graph[str(link[0])])
        if isinstance(inputs.get("text"), str):
            return inputs["text"]
        link = inputs.get("text") or next((value for value in inputs.values() if isinstance(value, list)), None)
    return ""


def _graph(text: str) -> dict[str, Any]:
    try:
        graph = json.loads(text)
    except (ValueError, RecursionError):
        return {}  # another program's "prompt" chunk, not ComfyUI's graph
    nodes = isinstance(graph, dict) and all(isinstance(node, dict) and "class_type" in node for node in graph.values())
    return graph if nodes else {}


def _inputs(node: Any) -> dict[str, Any]:
    inputs = node.get("inputs") if isinstance(node, dict) else None
    return inputs if isinstance(inputs, dict) else {}


def _comment(picture: Image.Image) -> str:
    """The EXIF user comment, where the same program puts its text in JPEG and WebP files."""
    comment = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
    if isinstance(comment, bytes) and comment.startswith(b"UNICODE\0"):
        return comment[8:].decode("utf-16-be", errors="replace")
    return comment.decode(errors="replace") if isinstance(comment, bytes) else str(comment)


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip().strip('"')


def _credential_sentences(credentials: Provenance | None) -> list[str]:
    if credentials is None:
        return ["It has no content credentials."]
    if credentials.state == "altered":
        why = f" ({', '.join(credentials.problems)})" if credentials.problems else ""
        return [f"It was altered after it was signed{why}."]
    known = "a signer you trust" if credentials.state == "trusted" else "a signer you did not name as trusted"
    said = [f"It is unchanged since it was signed by {credentials.signer}, {known}."]
    if credentials.generated:
        said.append("The signer says that a model made it or took part.")
    if credentials.parents:
        said.append(f"It was made from: {', '.join(credentials.parents)}.")
    return said


def _watermark_sentence(found: Detection) -> str:
    if not found.found:
        return "It has no watermark of this key that can be found."
    number = "whose number cannot be read" if found.payload is None else f"with the number {found.payload}"
    return f"It has a watermark {number}{_votes(found)} (score {found.score:.1f})."


def _votes(found: Detection) -> str:
    """In how many of a clip's frames the number was read, and which others were."""
    if not isinstance(found, ClipDetection) or found.payload is None:
        return ""
    if not found.votes:
        return f", read from {found.frames} frames together"
    (_, most), *rest = found.votes
    others = "".join(f", and {number} in {count}" for number, count in rest)
    return f", read in {most} of {found.frames} frames looked at{others}"
