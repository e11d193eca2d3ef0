"""Where an edit's instruction changes a picture: the thing that it names, or the words, as the reader sees them in the source.

Then the rest of the picture can be kept, as if somebody had painted a mask. What comes anew has no place yet, and where nothing
named is seen clearly the whole picture is open.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from ..models.image_grammar import CELL
from ..models.reader import SIDE
from ..text.lettering import ADDS, opening, to_write
from .choosing import Chooser

SEEN, CLEAR = 0.1, 0.4  # probability: a position belongs to a thing; and some position of it has as much
WRITTEN = 0.02  # letters expected at a position: some stand there (those that do are seldom sure of which)
REACH = 8  # px around what is seen that may change as well: a position mostly empty does not say what else it shows


@torch.inference_mode()
def place_of(instruction: str, digits: UInt8[Tensor, "h w d"], chooser: Chooser) -> Bool[np.ndarray, "y x"] | None:
    """The pixels of a picture, given as its cells' digits, where what an instruction changes is seen: a rectangle around each thing
    meant; None where it brings something new or what it names is not seen."""
    if opening(instruction) in ADDS:
        return None
    things, writes = chooser.lexicon.read(instruction).things, to_write(instruction) is not None
    if not things and not writes:
        return None
    sight = chooser.look(digits[None])
    shares = sight.letters if writes else chooser.there(sight, things[0])
    shares = shares.view(len(digits) // SIDE, -1)
    found = around(shares, WRITTEN, WRITTEN, 1) if writes else around(shares, SEEN, CLEAR, things[0].count)
    return None if found is None else found.numpy().repeat(CELL, 0).repeat(CELL, 1)


def widened(flags: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    """What lies within REACH of flagged pixels, sideways, up or down."""
    pool = F.max_pool2d(torch.from_numpy(flags)[None].float(), 2 * REACH + 1, 1, REACH)
    return pool[0].numpy() > 0


def around(
    shares: Float[Tensor, "rows columns"], seen: float, clear: float, count: int
) -> Bool[Tensor, "rows columns"] | None:
    """Rectangles around the `count` patches of which most is seen, with `seen` or more everywhere and `clear` or more somewhere;
    None where there is no such patch."""
    patches = patched(shares >= seen)
    found = [patches == number for number in range(1, int(patches.max()) + 1)]
    found = [patch for patch in found if float(shares[patch].max()) >= clear]
    found.sort(key=lambda patch: float(shares[patch].sum()), reverse=True)
    if not found:
        return None
    marked = torch.zeros_like(found[0])
    for patch in found[:count]:
        rows, columns = patch.any(1).nonzero()[:, 0], patch.any(0).nonzero()[:, 0]
        marked[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return marked


def patched(flags: Bool[Tensor, "rows columns"]) -> Int64[Tensor, "rows columns"]:
    """Connected patches, corners counting, numbered from 1; 0 where no flag is."""
    rows, columns = flags.shape
    numbers = torch.zeros(rows, columns, dtype=torch.long)
    count = 0
    for start in flags.nonzero().tolist():
        if numbers[start[0], start[1]]:
            continue
        count, waiting = count + 1, [start]
        while waiting:
            row, column = waiting.pop()
            if 0 <= row < rows and 0 <= column < columns and flags[row, column] and not numbers[row, column]:
                numbers[row, column] = count
                waiting += [[row + down, column + right] for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return numbers
