"""The settings inside a dropped file: Polarlight's own, the "parameters" text of A1111 and Forge, or a ComfyUI graph."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from PIL import ExifTags, Image

from polarlight.base.errors import UserError
from polarlight.media.pictures import decode_picture, settings_inside

PAIR = re.compile(r'\s*([\w ()/-]+):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
NEGATIVE = "Negative prompt:"
SAMPLERS = ("noise_seed", "seed")  # what ComfyUI's sampler nodes call it


class NoSettings(UserError):
    """The picture says nothing of how it was made."""

    def __init__(self, name: str) -> None:
        fix = "Start from the picture itself, or drop a file from Polarlight, A1111 or ComfyUI."
        super().__init__(f"{name} carries no settings.", fix=fix)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a file says of how it was made; empty or None where it does not say. program: who wrote it."""

    program: str
    prompt: str = ""
    negative_prompt: str = ""
    seed: int | None = None
    mode: str = ""
    model: str = ""
    width: int = 0
    height: int = 0

    def as_json(self) -> dict[str, Any]:
        """The same for the page."""
        return asdict(self)


def settings_of(content: bytes, name: str) -> Settings:
    """Read the settings of a picture file (PNG, JPEG, WebP).

    Raises:
        NoSettings: it carries none that are known here.
        UserError: it is no picture, or is damaged.
    """
    picture = decode_picture(content, name)
    size = {"width": picture.width, "height": picture.height}
    if own := settings_inside(picture, name):
        return Settings(program="Polarlight", **_own(own), **size)
    text = _text(picture, "parameters") or _comment(picture)
    if text and ("Seed:" in text or "Steps:" in text):
        return Settings(program="A1111", **from_parameters(text), **size)
    if graph := _text(picture, "prompt"):
        return Settings(program="ComfyUI", **from_graph(graph, name), **size)
    raise NoSettings(name)


def from_parameters(text: str) -> dict[str, Any]:
    """The text that A1111's web UI writes: the prompt, a line "Negative prompt: ...", a line of "Name: value" pairs."""
    lines = text.strip().splitlines()
    pairs: dict[str, str] = {}
    if lines and len(found := PAIR.findall(lines[-1])) >= 2:
        pairs = {key.strip(): value.strip().strip('"') for key, value in found}
        lines = lines[:-1]
    prompt, _, negative = "\n".join(lines).partition(NEGATIVE)
    return {
        "prompt": prompt.strip(),
        "negative_prompt": negative.strip(),
        "seed": _seed(pairs.get("Seed")),
        "model": pairs.get("Model", ""),
    }


def from_graph(text: str, name: str) -> dict[str, Any]:
    """ComfyUI's graph of nodes: the seed of the sampler, and the texts that lead to its positive and negative inputs.

    Raises:
        UserError: it is not JSON.
    """
    try:
        graph = json.loads(text)
    except ValueError as error:
        raise UserError(f"The settings inside {name} are damaged.", fix="Set prompt and seed by hand.") from error
    nodes = {key: node for key, node in graph.items() if isinstance(node, dict)} if isinstance(graph, dict) else {}
    for node in nodes.values():
        inputs = _inputs(node)
        seed = next((inputs[key] for key in SAMPLERS if key in inputs), None)
        if seed is not None and "positive" in inputs:
            positive, negative = (_words(nodes, inputs.get(side)) for side in ("positive", "negative"))
            seed = _linked(nodes, seed, SAMPLERS)
            return {"prompt": positive, "negative_prompt": negative, "seed": _seed(seed), "model": _checkpoint(nodes)}
    texts = [words for key in nodes if (words := _words(nodes, [key, 0]))]
    return {"prompt": texts[0] if texts else "", "model": _checkpoint(nodes)}


def _own(settings: Mapping[str, Any]) -> dict[str, Any]:
    prompt = settings.get("prompt") or settings.get("instruction") or ""
    words = {key: str(settings.get(key) or "") for key in ("negative_prompt", "mode", "model")}
    return {"prompt": str(prompt), "seed": _seed(settings.get("seed")), **words}


def _text(picture: Image.Image, key: str) -> str:
    found = picture.info.get(key, "")
    return found if isinstance(found, str) else ""


def _comment(picture: Image.Image) -> str:
    """The EXIF user comment, where JPEG and WebP keep the parameters."""
    comment = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
    if not isinstance(comment, bytes) or not comment.startswith(b"UNICODE\0"):
        return comment.removeprefix(b"ASCII\0\0\0").decode(errors="replace") if isinstance(comment, bytes) else comment
    body = comment[8:]
    order = "utf-16-le" if body[1:2] == b"\0" else "utf-16-be"  # Latin letters show the order
    return body.decode(order, errors="replace")


def _seed(value: Any) -> int | None:
    """A seed that Polarlight can draw: 0 to 2^32-1; others are folded into that range."""
    digits = str(value) if isinstance(value, int | str) else ""
    return int(digits) % 2**32 if digits.isdecimal() and len(digits) < 40 else None


def _inputs(node: Any) -> dict[str, Any]:
    found = node.get("inputs") if isinstance(node, dict) else None
    return found if isinstance(found, dict) else {}


def _linked(nodes: Mapping[str, Any], value: Any, names: tuple[str, ...]) -> Any:
    """A value, or that of the node it links to."""
    if not isinstance(value, list):
        return value
    inputs = _inputs(nodes.get(str(value[0])) if value else None)
    return next((inputs[key] for key in (*names, "value") if key in inputs), None)


def _words(nodes: Mapping[str, Any], link: Any, depth: int = 8) -> str:
    """The text at the end of a chain of links."""
    if depth == 0 or not isinstance(link, list) or not link:
        return link if isinstance(link, str) else ""
    inputs = _inputs(nodes.get(str(link[0])))
    for key in ("text", "text_g", "string", "value", "conditioning", "positive"):
        if key in inputs and (words := _words(nodes, inputs[key], depth - 1)):
            return words
    return ""


def _checkpoint(nodes: Mapping[str, Any]) -> str:
    named = (_inputs(node).get(key) for node in nodes.values() for key in ("ckpt_name", "unet_name"))
    return next((name for name in named if isinstance(name, str)), "")
