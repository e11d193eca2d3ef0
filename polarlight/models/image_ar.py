"""The image model: a decoder-only mixture-of-experts transformer over interleaved text and image codes.

After the public accounts of xAI's Aurora (autoregressive MoE over text and image tokens) with the pieces that open work found
best: DeepSeek-V3's balancing, QK-norm, two-dimensional RoPE, double positions for any-order drawing (see `image_grammar`), and
a masked autoregressive head (MADE, arXiv 1502.03509) that draws the digits of one position's codes in sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from ..nn.attention import LayerCache, Rotation, SelfAttention
from ..nn.layers import Linear, RMSNorm, SwiGLU
from ..nn.moe import DenseMLP, MoE
from ..ops.fsq import digit_values
from ..ops.rope import rope_table
from .cost import Cost
from .image_grammar import EVERYBODYS, IGNORE, Role, Tokens

FOURIER = 6  # octaves of the cell-place features


@dataclass(frozen=True, kw_only=True)
class ImageARConfig:
    """Defaults are the shipped model's; `reference` sizes from 1B up differ only in numbers."""

    vocabulary: int
    levels: tuple[int, ...] = (4,) * 8  # of one tokenizer cell
    pack: int = 2  # cells a side of one position
    width: int = 320
    layers: int = 8
    heads: int = 5
    head_dim: int = 64
    dense_layers: int = 1
    dense_hidden: int = 960
    experts: int = 8
    top_k: int = 2
    expert_hidden: int = 128
    shared_hidden: int = 384
    head_hidden: int = 128

    @property
    def digits(self) -> int:
        """Digits of one position: all levels of all its cells."""
        return self.pack**2 * len(self.levels)

    @property
    def position_levels(self) -> tuple[int, ...]:
        return self.levels * self.pack**2


class Block(nn.Module):
    """Pre-norm attention, then experts (or a dense MLP)."""

    def __init__(self, config: ImageARConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width)
        self.attention = SelfAttention(config.width, config.heads, config.head_dim)
        self.mlp_norm = RMSNorm(config.width)
        self.mlp: MoE | DenseMLP
        if layer < config.dense_layers:
            self.mlp = DenseMLP(config.width, config.dense_hidden)
        else:
            self.mlp = MoE(config.width, config.experts, config.top_k, config.expert_hidden, config.shared_hidden)

    def forward(
        self,
        x: Float[Tensor, "b s d"],
        rotation: Rotation,
        mask: Bool[Tensor, "b 1 s n"],
        cache: LayerCache | None = None,
        start: int = 0,
    ) -> tuple[Float[Tensor, "b s d"], Float[Tensor, " two"]]:
        x = x + self.attention(self.attention_norm(x), rotation, mask, cache, start)
        y, losses = self.mlp(self.mlp_norm(x))
        return x + y, losses


class DigitHead(nn.Module):
    """Masked autoregressive head: digit i of a position sees the backbone's state and digits 0 .. i-1.

    All digits train in one pass (a block-triangular matrix over one-hot digits); sampling runs digit by digit.
    """

    def __init__(self, config: ImageARConfig) -> None:
        super().__init__()
        g, self.values, m = config.digits, max(config.levels), config.head_hidden
        self.shape = (g, m)
        self.state = Linear(config.width, g * m)
        self.before = Linear(g * self.values, g * m)
        self.mlp_norm = RMSNorm(m)
        self.mlp = SwiGLU(m, m)
        self.out_norm = RMSNorm(m)
        self.out = Linear(m, self.values)
        nn.init.zeros_(self.out.weight)
        self.levels = config.position_levels
        self.allowed: Tensor
        self.impossible: Tensor
        self.register_buffer("allowed", torch.empty(g * m, g * self.values, dtype=torch.bool), persistent=False)
        self.register_buffer("impossible", torch.empty(g, self.values, dtype=torch.bool), persistent=False)
        self.reset_buffers()

    def reset_buffers(self) -> None:
        """allowed: block-triangular mask of digit i's inputs; impossible: values a digit does not have."""
        g, m = self.shape
        index = torch.arange(g)
        self.allowed.copy_((index[:, None] > index).repeat_interleave(m, 0).repeat_interleave(self.values, 1))
        self.impossible.copy_(torch.arange(self.values) >= torch.tensor(self.levels)[:, None])

    def one_hot(self, digits: UInt8[Tensor, "n g"], dtype: torch.dtype) -> Float[Tensor, "n gv"]:
        return F.one_hot(digits.long(), self.values).flatten(1).to(dtype)

    def forward(self, state: Float[Tensor, "n d"], digits: UInt8[Tensor, "n g"]) -> Float[Tensor, "n g v"]:
        """Logits of every digit given those before it, fp32."""
        weight = (self.before.weight * self.allowed).to(state.dtype)
        x = self.state(state) + F.linear(self.one_hot(digits, state.dtype), weight)
        return self.logits(x.unflatten(-1, self.shape), slice(None))

    def logits(self, x: Float[Tensor, "n i m"], index: slice) -> Float[Tensor, "n i v"]:
        """Finish digits `index` from their summed inputs."""
        x = x + self.mlp(self.mlp_norm(x))
        logits = self.out(self.out_norm(x)).float()
        return logits.masked_fill(self.impossible[index], -torch.inf)


class ImageAR(nn.Module):
    """Text and picture tokens in, next text token and asked cell out."""

    def __init__(self, config: ImageARConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.roles = nn.Embedding(len(Role), config.width)
        self.codes = Linear(config.digits, config.width)
        self.place = Linear(2 * (8 * FOURIER + 1), config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.head = DigitHead(config)
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Embeddings so that scaled inputs have unit size; the last matrix of every residual branch smaller by depth."""
        nn.init.normal_(self.tokens.weight, std=self.config.width**-0.5)
        nn.init.normal_(self.roles.weight, std=0.1)
        shrink = (2 * self.config.layers) ** -0.5
        for block in self.blocks:
            block.attention.out.weight.mul_(shrink)
            for part in (
                (block.mlp.mlp.down.weight,)
                if isinstance(block.mlp, DenseMLP)
                else (block.mlp.down, block.mlp.shared.down.weight)
            ):
                part.mul_(shrink)

    def embed(self, tokens: Tokens, dtype: torch.dtype) -> Float[Tensor, "b s d"]:
        """Sum of what a token is, what it holds, where it lies and what it asks for."""
        words = self.tokens(tokens.ids).to(dtype) * self.config.width**0.5
        values = digit_values(tokens.digits, self.config.position_levels).to(dtype) * 1.7  # about unit variance
        lies, asks = tokens.is_cell[..., None], tokens.asked.any(-1, keepdim=True)
        features = torch.cat((fourier(tokens.own, lies), fourier(tokens.asked, asks)), -1)
        x = torch.where(tokens.is_cell[..., None], self.codes(values), words)
        return x + self.place(features.to(dtype)) + self.roles(tokens.role).to(dtype)

    def rotation(self, tokens: Tokens) -> Rotation:
        """RoPE tables of a batch."""
        return Rotation(
            query=rope_table(tokens.asks, self.config.head_dim), key=rope_table(tokens.lies, self.config.head_dim)
        )

    def hidden(
        self,
        tokens: Tokens,
        mask: Bool[Tensor, "b 1 s n"],
        dtype: torch.dtype,
        cache: Sequence[LayerCache] | None = None,
        start: int = 0,
    ) -> tuple[Float[Tensor, "b s d"], Float[Tensor, " two"]]:
        """Final normalised states, and the sum of the layers' (balance, z) losses."""
        x, rotation = self.embed(tokens, dtype), self.rotation(tokens)
        losses = torch.zeros(2, device=x.device)
        for layer, block in enumerate(self.blocks):
            x, extra = block(x, rotation, mask, cache[layer] if cache else None, start)
            losses = losses + extra
        return self.norm(x), losses

    def text_logits(self, hidden: Float[Tensor, "*n d"]) -> Float[Tensor, "*n v"]:
        """Next-token logits with the tied embedding, fp32."""
        return F.linear(hidden, self.tokens.weight.to(hidden.dtype)).float()

    def new_cache(self, batch: int, capacity: int, dtype: torch.dtype) -> list[LayerCache]:
        """Static key/value cache for `capacity` tokens."""
        c = self.config
        return [LayerCache(batch, c.heads, capacity, c.head_dim, dtype) for _ in range(c.layers)]

    def active_parameters(self) -> tuple[int, int]:
        """(backbone parameters a token passes, head parameters a drawn position passes), embeddings left out."""
        c = self.config
        routed = sum(b.mlp.up.numel() + b.mlp.down.numel() for b in self.blocks if isinstance(b.mlp, MoE))
        backbone = sum(p.numel() for p in self.blocks.parameters()) - routed + routed * c.top_k // c.experts
        per_digit = (sum(p.numel() for p in self.head.mlp.parameters()) + self.head.out.weight.numel()) * c.digits
        head = self.head.state.weight.numel() + self.head.before.weight.numel() + per_digit
        return backbone, head

    def cost(self, tokens: int, drawn: int, context: int = 0) -> Cost:
        """Forward cost of one row: `tokens` new tokens after `context` cached ones, `drawn` positions through the head.

        Weight bytes count each expert the tokens are expected to touch once: E (1 - (1 - k/E)^tokens).
        """
        c = self.config
        backbone, head = self.active_parameters()
        attention = 4 * c.layers * c.heads * c.head_dim * tokens * (context + (tokens + 1) / 2)
        element = self.tokens.weight.element_size()
        routed = sum(b.mlp.up.numel() + b.mlp.down.numel() for b in self.blocks if isinstance(b.mlp, MoE))
        touched = 1 - (1 - c.top_k / c.experts) ** tokens
        dense = backbone - routed * c.top_k // c.experts + head
        state = 2 * c.layers * c.heads * c.head_dim * (context + tokens) * element
        return Cost(
            flops=2 * backbone * tokens + attention + 2 * head * drawn,
            weight_bytes=element * (dense + routed * touched),
            state_bytes=state,
        )


def fourier(place: Float[Tensor, "b s 4"], present: Bool[Tensor, "b s 1"]) -> Float[Tensor, "b s f"]:
    """Sines and cosines of (row, column) from wavelength 32 cells down, of the shares from 2 down, and whether there is one."""
    octave = 2.0 ** torch.arange(FOURIER, device=place.device)
    scale = torch.tensor([1 / 32, 1 / 32, 0.5, 0.5], device=place.device)
    angles = (2 * torch.pi * place * scale)[..., None] * octave
    features = torch.cat((angles.sin(), angles.cos()), -1).flatten(-2)
    return torch.cat((features, torch.ones_like(features[..., :1])), -1) * present


def causal_mask(tokens: Tokens) -> Bool[Tensor, "b 1 s s"]:
    """Each token sees itself and the valid tokens before it, of words only everybody's and those for it."""
    length = tokens.valid.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=tokens.valid.device).tril()
    itself = torch.eye(length, dtype=torch.bool, device=tokens.valid.device)
    return ((causal & tokens.valid[:, None] & for_whom(tokens.sees, tokens.whose)) | itself)[:, None]


def for_whom(sees: Int64[Tensor, "b s"], whose: Int64[Tensor, "b n"]) -> Bool[Tensor, "b s n"]:
    """Whether tokens with such `Tokens.sees` see words with such `Tokens.whose`."""
    return (whose == EVERYBODYS)[:, None] | (sees[..., None] == whose[:, None])


def image_loss(
    model: ImageAR, tokens: Tokens, dtype: torch.dtype, text_weight: float = 0.5, balance: float = 1e-4, z: float = 1e-3
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Mean cross-entropy a digit of asked cells (weighted) + text_weight x mean of learned text tokens + router terms."""
    hidden, routing = model.hidden(tokens, causal_mask(tokens), dtype)
    metrics: dict[str, Tensor] = {}
    loss = balance * routing[0] + z * routing[1]
    asked = tokens.cell_weight > 0
    if asked.any():
        target, weight = tokens.cell_target[asked], tokens.cell_weight[asked]
        logits = model.head(hidden[asked], target)
        digit_loss = F.cross_entropy(logits.flatten(0, 1), target.flatten().long(), reduction="none").view(target.shape)
        cells = (digit_loss.mean(-1) * weight).sum() / weight.sum()
        loss, metrics["digit_nats"] = loss + cells, digit_loss.detach().mean()
    learned = tokens.text_target != IGNORE
    if learned.any():
        words = F.cross_entropy(model.text_logits(hidden[learned]), tokens.text_target[learned])
        loss, metrics["text_nats"] = loss + text_weight * words, words.detach()
    metrics["loss"] = loss.detach()
    return loss, metrics
