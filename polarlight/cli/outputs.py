"""What a verb makes, on its way to disk: marked, described and signed as the server's outputs are, never over other files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .terminal import is_picture

if TYPE_CHECKING:
    import numpy as np

    from polarlight.infer.images import Picture
    from polarlight.infer.policy_images import Finished
    from polarlight.media.sealing import SealedPicture
    from polarlight.media.signing_identity import SigningIdentity


def home() -> Path:
    """The folder of this installation: POLARLIGHT_HOME, or the platform's."""
    from polarlight.serve.settings import Settings

    return Settings.from_environment().home


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """Seals and writes pictures. `out`: a folder, or the name of one picture.

    `parent`: the file that an edit began with; `masked`: its pixels, where a mask keeps some of them as they are.
    """

    out: Path
    identity: SigningIdentity
    parent: bytes | None = None
    masked: np.ndarray | None = None

    @classmethod
    def open(cls, out: Path, **more: Any) -> Outputs:
        """With this installation's signing identity, which is made on the first run.

        Raises:
            UserError: the identity cannot be read or made.
        """
        from polarlight.media.signing_identity import SigningIdentity

        return cls(out=out, identity=SigningIdentity.open(home(), check=False), **more)

    def seal(self, picture: Picture) -> SealedPicture:
        """The file of a picture.

        Raises:
            UserError: its settings are too long for the format, or it cannot be signed.
        """
        return self._sealed(picture.pixels, picture.metadata, self._source(*picture.pixels.shape[:2]))

    def save(self, made: Sequence[Finished], text: str) -> list[Path]:
        """Write finished pictures, and where there are several a sheet of them all; returns the paths.

        Raises:
            UserError: the disk is full, or the place cannot be written.
        """
        from polarlight.media.grid import contact_sheet
        from polarlight.media.pictures import file_stem
        from polarlight.media.sealing import save_sealed

        anchor, files = self.identity.anchor, []
        for each in made:
            name = self.out if is_picture(self.out) else self.out / f"{file_stem(text, each.picture.seed)}.png"
            files.append(save_sealed(name, each.file, anchor))
        if len(made) > 1:
            pictures = [each.picture for each in made]
            sheet = contact_sheet([each.pixels for each in pictures], [f"seed {each.seed}" for each in pictures])
            about = {"prompt": text, "seed": pictures[0].seed, "seeds": [each.seed for each in pictures]}
            files.append(save_sealed(self.out / "grid.png", self._sealed(sheet, about), anchor))
        return files

    def _sealed(self, pixels: np.ndarray, about: Mapping[str, Any], source: np.ndarray | None = None) -> SealedPicture:
        """Sealed on a thread: Ctrl-C then ends the wait for it, while inside the native call it would be lost."""
        from concurrent.futures import ThreadPoolExecutor

        from polarlight.media.sealing import seal_picture
        from polarlight.media.watermark import PUBLIC_KEY

        trace = json.dumps(about, sort_keys=True)  # a picture that is drawn again bears the same number
        suffix = self.out.suffix if is_picture(self.out) else ".png"
        seal = partial(
            seal_picture, pixels, about, trace=trace, suffix=suffix, identity=self.identity,
            watermark_key=PUBLIC_KEY, parent=self.parent, source=source,
        )  # fmt: skip
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(seal).result()

    def _source(self, height: int, width: int) -> np.ndarray | None:
        """The picture that a mask keeps parts of, at the size of what is made of it."""
        from polarlight.media.pictures import fitted

        return None if self.masked is None else fitted(self.masked, height, width)


def parent_file(content: bytes, pixels: np.ndarray) -> bytes:
    """A file as the credentials of what is made from it take it in; a format that they do not know becomes a PNG."""
    from polarlight.base.errors import UserError
    from polarlight.media.pictures import encode_picture
    from polarlight.media.provenance import media_type

    try:
        media_type(content)
    except UserError:
        return encode_picture(pixels, {}, ".png")
    return content
