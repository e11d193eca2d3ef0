"""Pictures on disk: pixels with the settings that made them, read back with a clear sentence where that fails."""

from __future__ import annotations

import io
import json
import re
import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import ExifTags, Image, ImageOps, PngImagePlugin

from polarlight.base.errors import UserError
from polarlight.base.files import atomic_write

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
KEY = "polarlight"
# of zlib: a picture's rows repeat little but single values, so that runs alone give files as short as level 6, 4 to 5 times as fast
PNG_SETTINGS = {"compress_level": 1, "compress_type": zlib.Z_RLE}
QUALITY = 95  # of JPEG and WebP where nothing else is asked for

# what Pillow raises on files that are cut off or forged, beside OSError
_BROKEN = (SyntaxError, ValueError, struct.error, EOFError, IndexError, KeyError, OverflowError, MemoryError)


def save_picture(path: str | Path, pixels: UInt8[np.ndarray, "h w 3"], metadata: Mapping[str, Any]) -> None:
    """Write a picture, whole or not at all, in the format its suffix names (.png, .jpg, .webp).

    `metadata` (plain JSON) goes into the file twice: as JSON, which `read_metadata` returns, and as the "parameters"
    text that other programs show.

    Raises:
        UserError: an unknown suffix, metadata too long for the format, or a place that cannot be written.
    """
    atomic_write(path, encode_picture(pixels, metadata, Path(path).suffix))


def save_new_picture(path: str | Path, pixels: UInt8[np.ndarray, "h w 3"], metadata: Mapping[str, Any]) -> Path:
    """Write a picture without losing another: where `path` holds something else, "name-2.png" and so on.

    Returns the path. The very same picture with the same metadata keeps its name, so that
    repeating a command does not multiply files.
    """
    path = Path(path)
    content = encode_picture(pixels, metadata, path.suffix)
    chosen, number = path, 2
    while chosen.exists() and not (chosen.is_file() and chosen.read_bytes() == content):
        chosen, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    atomic_write(chosen, content)
    return chosen


def encode_picture(
    pixels: UInt8[np.ndarray, "h w 3"], metadata: Mapping[str, Any], suffix: str, quality: int = QUALITY
) -> bytes:
    """The bytes of a picture file with its metadata; the same input gives the same bytes.

    quality: of JPEG and WebP, 0 (smallest) to 100 (best); a PNG loses nothing and heeds it not.

    Raises:
        UserError: an unknown suffix, a quality out of range, or metadata longer than a JPEG can carry (64 KiB).
    """
    kind = FORMATS.get(suffix.lower())
    if kind is None:
        raise UserError(f"Cannot write pictures as '{suffix}'.", fix=f"Choose one of {', '.join(FORMATS)}.")
    if not 0 <= quality <= 100:
        raise UserError(f"A picture's quality of {quality} is not possible.", fix="Give one from 0 to 100.")
    picture, buffer = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    text = parameters_text(metadata, picture.size)
    if kind == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text(KEY, json.dumps(metadata, ensure_ascii=False, sort_keys=True))
        chunks.add_text("parameters", text)
        picture.save(buffer, kind, pnginfo=chunks, **PNG_SETTINGS)
        return buffer.getvalue()
    exif = Image.Exif()
    exif[ExifTags.Base.ImageDescription] = json.dumps({KEY: metadata}, sort_keys=True)  # this tag holds ASCII only
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + text.encode("utf-16-be")
    try:
        picture.save(buffer, kind, quality=quality, exif=exif)
    except ValueError as error:
        raise UserError(f"The settings are too long for a {kind} file.", fix="Write a .png instead.") from error
    return buffer.getvalue()


def parameters_text(metadata: Mapping[str, Any], size: tuple[int, int]) -> str:
    """The settings as the text that A1111's web UI made customary: the prompt, then one line of "Name: value" pairs."""
    names = {"Steps": "passes", "Sampler": "mode", "Seed": "seed", "Model hash": "model_hash", "Model": "model"}
    pairs = [f"{shown}: {metadata[key]}" for shown, key in names.items() if metadata.get(key) is not None]
    pairs.insert(min(3, len(pairs)), f"Size: {size[0]}x{size[1]}")
    prompt = metadata.get("prompt") or metadata.get("instruction") or ""
    return f"{prompt}\n{', '.join(pairs)}, Version: Polarlight"


def read_metadata(path: str | Path) -> dict[str, Any]:
    """The JSON that `save_picture` put into the file; empty for a picture made elsewhere.

    Raises:
        UserError: no such file, not a picture, cut off, or settings that are not JSON.
    """
    return settings_inside(_open(Path(path)), str(path))


def settings_inside(picture: Image.Image, name: str) -> dict[str, Any]:
    """The same of an opened picture; `name` is what an error calls it."""
    text = getattr(picture, "text", {}).get(KEY)
    described = picture.getexif().get(ExifTags.Base.ImageDescription, "")
    if text is None and not (isinstance(described, str) and described.startswith(f'{{"{KEY}":')):
        return {}
    try:
        data = json.loads(text) if text is not None else json.loads(described)[KEY]
    except ValueError as error:
        raise UserError(f"The settings inside {name} are damaged.", fix="Set prompt and seed by hand.") from error
    return data if isinstance(data, dict) else {}


def load_picture(path: str | Path) -> UInt8[np.ndarray, "h w 3"]:
    """Read a picture as RGB, turned upright by its EXIF orientation; transparency is laid over white.

    Raises:
        UserError: no such file, not a picture, cut off, or more than 89 megapixels.
    """
    return upright_pixels(_open(Path(path)))


def upright_pixels(picture: Image.Image) -> UInt8[np.ndarray, "h w 3"]:
    """An opened picture as RGB, turned upright by its EXIF orientation; transparency is laid over white."""
    return np.array(_flat(ImageOps.exif_transpose(picture)))


def fitted(picture: UInt8[np.ndarray, "_ _ 3"], height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """A picture at another size, by Lanczos' filter."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def load_mask(path: str | Path, height: int, width: int) -> Bool[np.ndarray, "{height} {width}"]:
    """Read an edit mask of a picture of `height` x `width` pixels: true where the picture may change.

    A mask with transparency marks the place by it (the OpenAI custom); any other marks it in white.

    Raises:
        UserError: an unreadable file, another size than the picture's, or a mask that marks nothing.
    """
    picture = ImageOps.exif_transpose(_open(Path(path)))
    if picture.size != (width, height):
        wrong = f"The mask {path} is {picture.size[0]}x{picture.size[1]} pixels, the picture {width}x{height}."
        raise UserError(wrong, fix="Make both the same size.")
    if picture.has_transparency_data:
        mask = np.array(picture.convert("RGBA").getchannel("A")) < 128
    else:
        mask = np.array(_flat(picture).convert("L")) >= 128
    if not mask.any():
        raise UserError(f"The mask {path} marks nothing.", fix="Paint white, or cut out, what may change.")
    return mask


def file_stem(text: str, seed: int) -> str:
    """A short file name, without suffix, for a picture of `text`: "a-cat-and-a-dog-7". Letters of any script stay."""
    words = re.sub(r"[^\w]+", "-", text.lower().replace("_", " ")).strip("-")
    cut = words[:48].encode()[:96].decode(errors="ignore")  # file systems count bytes, and Hangul takes three a letter
    short = cut if cut == words else cut.rpartition("-")[0] or cut
    return f"{short or 'picture'}-{seed}"


def _flat(picture: Image.Image) -> Image.Image:
    """RGB without transparency; 16-bit grey keeps its high byte, which Pillow's own conversion would clip."""
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.array(picture) >> 8).clip(0, 255).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


def _open(path: Path) -> Image.Image:
    """Open and decode a picture file (an animation's first frame)."""
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.", fix="Check the path.") from error
    except OSError as error:
        raise UserError(f"Cannot read {path}: {error.strerror or error}.", fix="Give a picture file.") from error
    return decode_picture(content, str(path))


def decode_picture(content: bytes, name: str) -> Image.Image:
    """Open and decode the bytes of a picture file (an animation's first frame); `name` is what an error calls it.

    Raises:
        UserError: not a picture, cut off, or more than 89 megapixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(content))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(f"{name} has more than 89 megapixels.", fix="Make it smaller first.") from error
    except (OSError, *_BROKEN) as error:
        raise UserError(f"{name} is not a picture this program knows.", fix="Give a PNG, JPEG or WebP file.") from error
    try:
        picture.load()
        picture.getexif()
    except (OSError, *_BROKEN) as error:
        raise UserError(f"{name} is cut off or damaged.", fix="Copy or download it again.") from error
    return picture
