"""A small training, alone or as one of several ranks: torchrun --nproc-per-node 2 two_ranks.py FOLDER"""

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from polarlight.nn.moe import MoE
from polarlight.train.distributed import joined
from polarlight.train.loop import Batch, FitConfig, fit
from polarlight.train.optim import Schedule, optimizers

RANKS, STEPS, ROWS = 2, 4, 6


class Network(nn.Module):
    """Experts between two linear maps."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.moe, self.last = nn.Linear(5, 8), MoE(8, 4, 2, hidden=6, shared=4), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.moe(self.first(x))[0])


def rows(number: int) -> Tensor:
    return torch.randn(1, ROWS, 5, generator=torch.Generator().manual_seed(number))


def train(folder: Path, pieces: int) -> nn.Module:
    """Train on `pieces` batches a step, one after the other in one tensor; the loss is a mean over them."""
    torch.manual_seed(3)
    model = Network()

    def objective(model: nn.Module, x: Tensor, random: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (model(x) - x[..., :3]).square().mean()
        return loss, {"loss": loss.detach()}

    def make_batch(number: int) -> Batch:
        return Batch(data=torch.cat([rows(number * pieces + i) for i in range(pieces)]), units=ROWS * pieces)

    made = optimizers(model, lr=1e-2, adam_lr=1e-2, muon=False)
    config = FitConfig(steps=STEPS, log_every=1, save_every=2, balance_rate=0.1)
    fit(model, objective, make_batch, made, Schedule(steps=STEPS, warmup=2), config, folder)
    return model


if __name__ == "__main__":
    with joined() as rank:
        torch.save(train(Path(sys.argv[1]) / "run", pieces=1).state_dict(), Path(sys.argv[1]) / f"rank{rank}.pt")
