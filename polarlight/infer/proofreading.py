"""Proofreading: what candidates say is a claim like others, and letters that are read wrong are drawn anew.

A word of six letters is hardly ever right as a whole; of one letter there is a right one among a few. So after the choice the
positions around letters that the proofreader doubts are drawn again, several times, with everything else given, and the choice
is made again, with the picture as it was among the candidates: it can only become better in the eyes of who chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ..models.image_grammar import CELL
from ..models.proofreader import LETTER, STEP, Proofreader, strips
from ..ops.alignment import accepted
from ..text.plan import Plan

DOUBT = 0.6  # probability: what is read with less is drawn anew
REACH = 0.3  # letters to the left and right of where it is read, for that is in its middle


@dataclass(frozen=True, kw_only=True, eq=False)
class Proofs:
    """Pictures of one request, each with the plan that it was drawn by, ready to be read."""

    reader: Proofreader
    pictures: Sequence[UInt8[Tensor, "h w 3"]]
    plans: Sequence[Plan]

    def claims(self) -> dict[str, Float[Tensor, " b"]]:
        """For each text of the plans the log-probability of its letters, their mean, in each picture where its own plan has it;
        minus infinity where that has none. A text with a letter that the reader does not know is no claim."""
        texts = dict.fromkeys(in_line(text.text) for plan in self.plans for text in plan.texts)
        read = {text: [self._said(number, text) for number in range(len(self.plans))] for text in texts}
        return {f"says {text}": torch.tensor(scores) for text, scores in read.items() if None not in scores}

    def _said(self, number: int, text: str) -> float | None:
        places = [one for one in self.plans[number].texts if in_line(one.text) == text]
        scores = [self.reader.likelihood(self.pictures[number], one.text, one.box) for one in places]
        return None if None in scores else max((score for score in scores if score is not None), default=-torch.inf)

    @torch.inference_mode()
    def doubtful(self, number: int) -> Bool[Tensor, "rows columns"]:
        """The positions of a picture where its plan has letters that are hardly read."""
        picture = self.pictures[number]
        doubtful = torch.zeros(picture.shape[0] // CELL, picture.shape[1] // CELL, dtype=torch.bool)
        for text in self.plans[number].texts:
            for strip in strips(picture, text.text, text.box):
                target = self.reader.numbers(strip.line)
                if target is None:
                    continue
                says = self.reader(strip.pixels[None])[0]
                weak = (accepted(says, target) < DOUBT).nonzero()[:, 0]
                x0, y0, x1, y1 = strip.ink
                wide = (x1 - x0) / len(says)
                reach = REACH * LETTER / STEP * wide
                across = x0 + (weak + 0.5) * wide
                columns = (torch.cat((across - reach, across + reach)) / CELL).long().clamp(0, doubtful.shape[1] - 1)
                top, bottom = (min(max(int(y / CELL), 0), len(doubtful) - 1) for y in (y0, y1))
                doubtful[top : bottom + 1, columns] = True
        return doubtful


def in_line(text: str) -> str:
    """A text as prompts quote it."""
    return " ".join(text.split())
