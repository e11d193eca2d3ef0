"""The gate's permit for a clip that starts from another: the gate judged frames of it, which the engine does not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from polarlight.infer.policy import Permit


@dataclass(frozen=True, kw_only=True)
class ClipPermit:
    """A permit, and the frames of the source clip (uint8 [h, w, 3]) that it was given for beside the task's own pictures."""

    permit: Permit
    frames: Sequence[np.ndarray] = ()

    def spend(self, task: str, prompt: str, pictures: Sequence[np.ndarray] = ()) -> None:
        """Use the permit up.

        Raises:
            Refused: it was given for another task, is spent, or has expired, or the capability was switched off since.
        """
        self.permit.spend(task, prompt, (*pictures, *self.frames))
