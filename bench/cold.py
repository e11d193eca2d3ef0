"""From nothing to a picture on disk: a new process of `polarlight imagine` beside a new process with a tiny diffusers pipeline.

    python bench/cold.py

The peer is a class-conditional DiT with about as many parameters as Polarlight's shipped image model, with random weights,
built and saved here first; its process loads it, runs 20 steps with guidance and writes the same number of pixels. Both start
with the tuned allocator and warm file caches. Also measured: the import of each package, and `polarlight --help`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from harness.ledger import prepare, record
from harness.timing import Work, race

from polarlight.base.files import PACKAGE
from polarlight.base.machine import ALLOCATOR, ALLOCATOR_GUARD

SHIPPED = PACKAGE / "weights" / "image.safetensors"
SIDE = 128  # px
STEPS = 20
BARS = {"first_picture": 3.0, "import": 20.0, "help_seconds": 0.15}

DRAW = """
import sys, torch
from diffusers import DiTPipeline
torch.set_num_threads(int(sys.argv[3]))
pipeline = DiTPipeline.from_pretrained(sys.argv[1], torch_dtype=torch.bfloat16)
pipeline.set_progress_bar_config(disable=True)
pipeline(class_labels=[1], num_inference_steps=int(sys.argv[4]), guidance_scale=3.0).images[0].save(sys.argv[2])
"""


def build_peer(folder: Path, parameters: int) -> dict[str, int]:
    """Save a random DiT pipeline of about `parameters` parameters that draws SIDE x SIDE pictures; returns its sizes."""
    from diffusers import AutoencoderKL, DDIMScheduler, DiTPipeline

    torch.manual_seed(0)
    codec = AutoencoderKL(
        block_out_channels=(32, 64, 64, 64), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, norm_num_groups=16, sample_size=SIDE,
    )  # fmt: skip
    left = parameters - sum(p.numel() for p in codec.parameters())
    with torch.device("meta"):
        sizes = {layers: sum(p.numel() for p in new_dit(layers).parameters()) for layers in range(2, 40)}
    transformer = new_dit(min(sizes, key=lambda layers: abs(sizes[layers] - left)))
    DiTPipeline(transformer, codec, DDIMScheduler()).save_pretrained(folder)
    return {"peer_parameters": sum(p.numel() for part in (codec, transformer) for p in part.parameters())}


def new_dit(layers: int) -> torch.nn.Module:
    """A DiT of `layers` layers over SIDE / 8 latents in patches of 2."""
    from diffusers import DiTTransformer2DModel

    return DiTTransformer2DModel(
        num_attention_heads=5, attention_head_dim=64, in_channels=4, out_channels=8, num_layers=layers, sample_size=SIDE // 8,
        patch_size=2, num_embeds_ada_norm=1000, norm_elementwise_affine=False, norm_type="ada_norm_zero",
        attention_bias=True, activation_fn="gelu-approximate",
    )  # fmt: skip


def new_process(*arguments: str) -> Work:
    """Start a command and wait for its end; raises CalledProcessError where it fails."""
    allocator = {name: str(size) for name, size in ALLOCATOR.items()}
    environment = {**os.environ, **allocator, ALLOCATOR_GUARD: "tuned"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's second start finds compiled files, on both sides
    return lambda: subprocess.run(arguments, env=environment, check=True, capture_output=True)


def main() -> None:
    options = prepare(__doc__ or "", ("--rounds", {"type": int, "default": 15}))
    if not SHIPPED.exists():
        print(
            "There are no shipped weights, so there is no first picture to time. Train and export the image model first."
        )
        return
    card = json.loads(SHIPPED.with_suffix(".json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = build_peer(folder / "peer", card["parameters"])
        python, threads = sys.executable, str(options.threads)
        (folder / "draw.py").write_text(DRAW, encoding="utf-8")
        own = (python, "-m", "polarlight")
        contenders = {
            "polarlight": new_process(
                *own, "imagine", "a red car", "-n", "1", "--seed", "1", "-o", str(folder / "own")
            ),
            "diffusers": new_process(
                python, str(folder / "draw.py"), str(folder / "peer"), str(folder / "peer.png"), threads, str(STEPS)
            ),
            "import polarlight": new_process(python, "-c", "import polarlight"),
            "import diffusers": new_process(python, "-c", "import diffusers"),
            "import polarlight's generator": new_process(python, "-c", "import polarlight.infer.images"),
            "import diffusers' pipeline": new_process(python, "-c", "from diffusers import DiTPipeline"),
            "polarlight --help": new_process(*own, "--help"),
        }
        for work in contenders.values():
            work()
        run = race(contenders, options.rounds)
    result = {
        **sizes, "parameters": card["parameters"], "rounds": len(run.seconds["polarlight"]), "dropped": run.dropped,
        "bars": BARS, "seconds": {name: run.median(name) for name in contenders},
        "over_diffusers": run.ratio("diffusers", "polarlight"),
        "import_over_diffusers": run.ratio("import diffusers", "import polarlight"),
        "generator_over_pipeline": run.ratio("import diffusers' pipeline", "import polarlight's generator"),
    }  # fmt: skip
    record("cold", result, run.others)


if __name__ == "__main__":
    main()
