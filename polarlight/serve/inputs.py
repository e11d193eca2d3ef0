"""Pictures and clips that come in: uploads, data URIs, file ids, addresses. Each is bounded before it is decoded."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from polarlight.base.errors import UserError
from polarlight.media.pictures import decode_picture, upright_pixels
from polarlight.media.provenance import media_type

from .fetching import fetch
from .objects import ContentTooLarge
from .options import Options
from .state import State
from .stored_files import NewFile

DATA_URI = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w=.+-]+)*;base64,", re.ASCII)
PURPOSE = "input"  # files that belong to a request and are not listed


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenPicture:
    """A picture that came in: its file, and its pixels, uint8 [h, w, 3], upright and without transparency."""

    content: bytes
    pixels: np.ndarray

    @classmethod
    def read(cls, content: bytes, name: str = "The picture") -> GivenPicture:
        """Decode a file.

        Raises:
            UserError: it is not PNG, JPEG or WebP, is damaged, or has more than 89 megapixels.
        """
        return cls(content=content, pixels=upright_pixels(_decoded(content, name)))


def read_mask(content: bytes, height: int, width: int) -> np.ndarray:
    """An edit mask, bool [height, width]: true where the picture may change.

    A mask with anything transparent marks the place by that (the OpenAI custom); any other marks it in white.

    Raises:
        UserError: an unreadable file, another size than the picture's, or a mask that marks nothing.
    """
    picture = ImageOps.exif_transpose(_decoded(content, "The mask"))
    if picture.size != (width, height):
        wrong = f"The mask is {picture.size[0]}x{picture.size[1]} pixels, the picture {width}x{height}."
        raise UserError(wrong, fix="Make both the same size.")
    clear = np.array(picture.convert("RGBA").getchannel("A")) < 128
    mask = clear if clear.any() else np.array(picture.convert("L")) >= 128  # an opaque alpha channel says nothing
    if not mask.any():
        raise UserError("The mask marks nothing.", fix="Make transparent, or paint white, what may change.")
    return mask


async def read_reference(state: State, options: Options, key_id: str, reference: str) -> bytes:
    """The bytes behind a data URI, the id of the key's own file, or an http(s) address; a public address of this service is read
    from its files, so it works on a private host too.

    Raises:
        UserError: it is none of them, cannot be decoded, or the address is refused or answers badly.
        NoSuchFile: the file is unknown or another key's.
        ContentTooLarge: there are more bytes than allowed.
    """
    if reference.startswith("data:"):
        return from_data_uri(reference, state.settings.limits.file_bytes)
    if reference.startswith("file-"):
        file = await asyncio.to_thread(state.files.get, reference, key_id)
        return await asyncio.to_thread(state.objects.get, file.object_key)
    ours = f"{state.settings.public_url}/public/"
    if reference.startswith(ours):
        return await asyncio.to_thread(_published, state, reference.removeprefix(ours))
    if reference.startswith(("http://", "https://")):
        return await fetch(reference, options)
    raise UserError("The picture is neither a data URI nor an address nor a file id.", fix="Send one of these.")


def _published(state: State, name: str) -> bytes:
    file = state.files.by_token(name.partition(".")[0])
    if file is None:
        raise UserError("There is no file at the address, or its time is over.", fix="Send the file itself.")
    return state.objects.get(file.object_key)


def from_data_uri(text: str, most: int) -> bytes:
    """The bytes of a base64 data URI.

    Raises:
        UserError: it is not one.
        ContentTooLarge: it holds more than `most` bytes.
    """
    head = DATA_URI.match(text[:200])
    if head is None:
        raise UserError("The data URI is not in base64.", fix="Write data:image/png;base64,...")
    if (len(text) - head.end()) * 3 // 4 > most:
        raise ContentTooLarge(f"The data URI holds more than {most} bytes.", fix="Send a smaller file.")
    try:
        return base64.b64decode(text[head.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError("The data URI is not valid base64.", fix="Encode the file again.") from error


def store_input(state: State, key_id: str, content: bytes) -> str:
    """Keep an input for the worker; returns the key of the object. Equal bytes have equal keys, so a repeated request does too."""
    kind = media_type(content)
    kept_s = 2 * state.settings.limits.wait_s  # longer than its job can wait
    name = "input." + kind.rpartition("/")[2]
    file = NewFile(filename=name, content=content, content_type=kind, purpose=PURPOSE, expires_in_s=kept_s)
    return state.files.add(key_id, file, most=state.settings.limits.file_bytes).object_key


def _decoded(content: bytes, name: str) -> Image.Image:
    kind = media_type(content)
    if not kind.startswith("image/"):
        raise UserError(f"{name} is not a picture.", fix="Give a PNG, JPEG or WebP file.")
    return decode_picture(content, name)
