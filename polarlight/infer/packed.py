"""The image model's forward pass for decoding: the same function as `ImageAR.hidden`, with as few operations as it takes.

A step on a handful of tokens is not arithmetic but reading weights and starting operations (measured on two cores: 80 small
operations a layer cost more than its matrices). So everything constant is done once: norms are folded into the matrix after
them, matrices lie in the processor's own tile layout, rotary pairs lie side by side so that rotating is one complex product, and a
layer's experts with the shared one are two matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..models.image_ar import Block, DigitHead, ImageAR, ImageARConfig
from ..models.image_grammar import Tokens
from ..models.letterer import Letterer
from ..nn.attention import LayerCache
from ..nn.moe import DenseMLP, MoE
from ..ops.moe import route
from ..ops.rope import rope_table

EPS = 1e-6
PACKED_FOR = 8  # rows the tile layout is chosen for
DENSE_UP_TO = (
    1024  # tokens; above, computing every expert for every token costs more than sorting them (4.3 ms each at 960)
)
NARROW = 320  # columns of a tiled product up to which a row has the same bits whatever the number of rows
ROWS = 8  # of the letterer's products
TOGETHER = 32  # rows up to which that holds for more columns too; above, the order of the sum depends on their number
SMALL = 1 << 17  # numbers in a matrix up to which a row times it is faster in fp32: 17 against 27 us at 320 x 320

Linear = Callable[[Tensor], Tensor]


def pack(weight: Float[Tensor, "o i"], dtype: torch.dtype) -> Linear:
    """x -> x weight^T with the weight in `dtype`, where the CPU multiplies bf16 in tiles in its own layout.

    In tiles a row's result has the same bits whatever the number of rows, from two on: wide matrices take TOGETHER rows at a time.
    A row by itself times a SMALL matrix is quicker in fp32.
    """
    weight = weight.detach().to(dtype).contiguous()
    tiles = weight.device.type == "cpu" and dtype == torch.bfloat16 and torch.backends.mkldnn.is_available()
    if not (tiles and torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        return lambda x: F.linear(x, weight)
    tiled = torch.ops.mkldnn._reorder_linear_weight(weight, PACKED_FOR)
    multiply = torch.ops.mkldnn._linear_pointwise.default
    single = weight.float() if weight.numel() <= SMALL else None
    together = TOGETHER if weight.shape[1] > NARROW else 1 << 30

    def product(x: Tensor) -> Tensor:
        if len(x) == 1 and single is not None:
            return F.linear(x.float(), single).to(dtype)
        if len(x) <= together:
            return multiply(x, tiled, None, "none", [], "")
        return torch.cat([multiply(rows, tiled, None, "none", [], "") for rows in x.split(TOGETHER)])

    return product


def direction(x: Float[Tensor, "*n d"], floor: Float[Tensor, ""]) -> Float[Tensor, "*n d"]:
    """x / sqrt(|x|^2 + floor^2): an RMS norm without its `gain`, which lies in the matrix that follows."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
    return x / torch.hypot(norm, floor).to(x.dtype)


def gain(weight: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    """What `direction` leaves out of an RMS norm of this weight."""
    return weight.detach().float() * len(weight) ** 0.5


def floor(width: int) -> Float[Tensor, ""]:
    """That of `direction` for EPS."""
    return torch.tensor((width * EPS) ** 0.5)


class PackedBlock:
    """One layer."""

    def __init__(self, block: Block, config: ImageARConfig, dtype: torch.dtype) -> None:
        self.heads, self.head_dim = config.heads, config.head_dim
        self.floor, self.head_floor = floor(config.width), floor(config.head_dim)
        attention = block.attention
        self.qkv = pack(side_by_side(attention.qkv.weight, config) * gain(block.attention_norm.weight), dtype)
        self.out = pack(attention.out.weight, dtype)
        pairs = pair_order(config.head_dim)
        norms = torch.stack((gain(attention.query_norm.weight), gain(attention.key_norm.weight)))[:, pairs]
        self.qk_gain = norms[:, None]
        self.mlp = packed_mlp(block, dtype)

    def __call__(
        self,
        x: Float[Tensor, "n d"],
        rotation: Tensor,
        mask: Tensor | None,
        cache: LayerCache,
        start: int,
    ) -> Float[Tensor, "n d"]:
        """rotation: complex [b, s, 2, 1, f], the query's and the key's turns; mask: additive, or None for no limits. Where it has
        more rows than there are tokens, attention runs over as many queries, of which the last are not read."""
        b, s = rotation.shape[:2]
        qkv = self.qkv(direction(x, self.floor)).view(b, s, 3, self.heads, self.head_dim)
        qk = direction(qkv[:, :, :2].float(), self.head_floor).mul_(self.qk_gain)
        torch.view_as_complex(qk.view(b, s, 2, self.heads, -1, 2)).mul_(rotation)
        qkv[:, :, :2] = qk
        query, key, value = qkv.transpose(1, 3).unbind(2)  # each [b, heads, s, head dim]
        keys, values = cache.write(start, key, value)
        if mask is not None and mask.shape[2] > s:
            query = F.pad(query, (0, 0, 0, mask.shape[2] - s))
        y = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)[:, :, :s]
        x = x + self.out(y.transpose(1, 2).reshape(x.shape[0], -1))
        return x + self.mlp(x)


def pair_order(head_dim: int) -> Tensor:
    """Order of a head's features in which the rotary pairs (i, i + half) stand side by side."""
    return torch.arange(head_dim).view(2, -1).T.flatten()


def side_by_side(qkv: Float[Tensor, "o d"], config: ImageARConfig) -> Float[Tensor, "o d"]:
    """The query, key and value matrix with the rotary pairs of queries and keys side by side."""
    query, key, value = qkv.unflatten(0, (3, config.heads, config.head_dim)).unbind()
    pairs = pair_order(config.head_dim)
    return torch.cat((query[:, pairs].flatten(0, 1), key[:, pairs].flatten(0, 1), value.flatten(0, 1)))


def packed_mlp(block: Block, dtype: torch.dtype) -> Linear:
    """The layer's feed-forward part with its norm: x [n, d] -> [n, d]."""
    if isinstance(block.mlp, DenseMLP):
        up = pack(block.mlp.mlp.up.weight * gain(block.mlp_norm.weight), dtype)
        down, low = pack(block.mlp.mlp.down.weight, dtype), floor(len(block.mlp_norm.weight))
        return lambda x: swiglu(direction(x, low), up, down)
    return PackedMoE(block.mlp, block.mlp_norm.weight, dtype)


class PackedMoE:
    """Routed experts and the shared expert for few tokens.

    One token passes its chosen experts one by one, which reads the least. From a few tokens on nearly every expert is touched
    (eight rows touch seven of eight), so all stand in two large matrices with the shared one, far cheaper than thirty small ones,
    and those not chosen are weighed with zero. Many tokens go through the module itself. A layout is made at its first use.
    """

    def __init__(self, moe: MoE, norm: Float[Tensor, " d"], dtype: torch.dtype) -> None:
        self.moe, self.gain, self.dtype, self.floor = moe, gain(norm), dtype, floor(len(norm))
        self.single = torch.float32 if moe.up[0].numel() <= SMALL else dtype
        self.router = (moe.router.detach().float() * self.gain).T.contiguous()

    @cached_property
    def apart(self) -> list[tuple[Linear, Linear]]:
        """(up, down) of every expert, then of the shared one."""
        moe, dtype = self.moe, self.single
        ups, downs = [*moe.up, moe.shared.up.weight], [*moe.down, moe.shared.down.weight]
        return [(pack(up * self.gain, dtype), pack(down, dtype)) for up, down in zip(ups, downs, strict=True)]

    @cached_property
    def together(self) -> tuple[Linear, Linear]:
        """All gates, the shared gate, all values, the shared value in one matrix; all downs side by side in the other."""
        moe = self.moe
        gates, values = moe.up.chunk(2, 1)
        shared_gate, shared_value = moe.shared.up.weight.chunk(2)
        up = torch.cat((gates.flatten(0, 1), shared_gate, values.flatten(0, 1), shared_value))
        down = torch.cat((moe.down.transpose(0, 1).flatten(1), moe.shared.down.weight), 1)
        return pack(up * self.gain, self.dtype), pack(down, self.dtype)

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        moe, n = self.moe, x.shape[0]
        x = direction(x if n > 1 else x.float(), self.floor)
        if n > DENSE_UP_TO:
            return moe((x * self.gain.to(x.dtype))[None])[0][0]
        gates, chosen, _ = route(x.float() @ self.router, moe.bias, moe.top_k)
        gates = gates if moe.scale == 1 else gates * moe.scale
        return self.few(x, gates, chosen) if n == 1 else self.every(x, gates, chosen)

    def few(
        self, x: Float[Tensor, "n d"], gates: Float[Tensor, "n k"], chosen: Int64[Tensor, "n k"]
    ) -> Float[Tensor, "n d"]:
        """Only the chosen experts, one after the other."""
        x = x.to(self.single)
        out = swiglu(x, *self.apart[-1])
        for row, sums, weights, experts in zip(x.split(1), out.split(1), gates.tolist(), chosen.tolist(), strict=True):
            for weight, expert in zip(weights, experts, strict=True):
                sums.add_(swiglu(row, *self.apart[expert]), alpha=weight)
        return out.to(self.dtype)

    def every(
        self, x: Float[Tensor, "n d"], gates: Float[Tensor, "n k"], chosen: Int64[Tensor, "n k"]
    ) -> Float[Tensor, "n d"]:
        """All experts at once, the gates of those not chosen being zero."""
        up, down = self.together
        experts, _, width = self.moe.down.shape
        weights = gates.new_zeros(x.shape[0], experts).scatter_(1, chosen, gates)
        gate, value = up(x).chunk(2, -1)
        hidden = F.silu(gate) * value
        hidden[:, : experts * width] *= weights.to(x.dtype).repeat_interleave(width, 1)
        return down(hidden)


def swiglu(x: Float[Tensor, "n d"], up: Linear, down: Linear) -> Float[Tensor, "n d"]:
    """down(silu(gate) * value), the gate and the value from one matrix."""
    gate, value = up(x).chunk(2, -1)
    return down(F.silu(gate) * value)


class PackedHead:
    """The digit head for drawing. Its matrices are so small that they run faster in fp32, which is also more exact."""

    def __init__(self, head: DigitHead, dtype: torch.dtype) -> None:
        g, m = head.shape
        self.digits, self.values, self.floor = g, head.values, floor(m)
        self.state = pack(head.state.weight, dtype)
        self.before = head.before.weight.detach().float().unflatten(0, (g, m)).transpose(1, 2).contiguous()
        self.up = head.mlp.up.weight.detach().float() * gain(head.mlp_norm.weight)
        self.down = head.mlp.down.weight.detach().float()
        self.out = head.out.weight.detach().float() * gain(head.out_norm.weight)
        self.impossible = [row if row.any() else None for row in head.impossible]

    def inputs(self, state: Float[Tensor, "copies n d"]) -> Float[Tensor, "g copies n m"]:
        """What each digit takes from the backbone's states."""
        return (
            self.state(state.flatten(0, 1)).float().view(*state.shape[:2], self.digits, -1).movedim(2, 0).contiguous()
        )

    def logits(
        self, inputs: Float[Tensor, "copies n m"], known: Float[Tensor, "n gv"], digit: int
    ) -> Float[Tensor, "copies n v"]:
        """Logits of one digit, fp32. known: one-hot values of the digits drawn so far, zero elsewhere."""
        x = inputs + known @ self.before[digit]
        gate, value = F.linear(direction(x, self.floor), self.up).chunk(2, -1)
        logits = F.linear(direction(x + F.linear(F.silu(gate) * value, self.down), self.floor), self.out)
        impossible = self.impossible[digit]
        return logits if impossible is None else logits.masked_fill_(impossible, -torch.inf)


class PackedLetterer:
    """The letterer for drawing, in fp32 and for ROWS positions at a time, so that a position has the same bits in any group."""

    def __init__(self, letterer: Letterer) -> None:
        self.letterer = letterer.eval().requires_grad_(False)

    def strokes(self, seen: Float[Tensor, "n k"]) -> Float[Tensor, "n e"]:
        """What is made of what is seen, zeros where nothing is."""
        return self._by_rows(self.letterer.strokes, seen.float())

    def __call__(self, states: Float[Tensor, "n d"], strokes: Float[Tensor, "n e"]) -> Float[Tensor, "n d"]:
        """The states, changed where there are strokes."""
        changed = self._by_rows(
            lambda both: self.letterer(both[:, : states.shape[1]], both[:, states.shape[1] :]),
            torch.cat((states.float(), strokes), -1),
        )
        return torch.where(strokes.any(-1, keepdim=True), changed.to(states.dtype), states)

    def _by_rows(self, function: Callable[[Tensor], Tensor], x: Float[Tensor, "n i"]) -> Float[Tensor, "n o"]:
        padded = F.pad(x, (0, 0, 0, -len(x) % ROWS))
        return torch.cat([function(rows) for rows in padded.split(ROWS)])[: len(x)]


class PackedImageAR:
    """An `ImageAR` laid out for decoding; takes its place in `infer.decoding` and `infer.captioning`. Inference only.

    The weights are copied when it is made: later changes to the model are not seen.
    """

    def __init__(self, model: ImageAR, dtype: torch.dtype, letterer: Letterer | None = None) -> None:
        """letterer: who has a part in positions that jobs sketch letters for."""
        self.model, self.config, self.dtype = model, model.config, dtype
        self.letterer = PackedLetterer(letterer) if letterer else None
        with torch.no_grad():
            self.blocks = [PackedBlock(block, model.config, dtype) for block in model.blocks]
            self.head = PackedHead(model.head, dtype)
            self.words = pack(model.tokens.weight, dtype)
            self.table, self.roles = (
                (model.tokens.weight * model.config.width**0.5).to(dtype),
                model.roles.weight.to(dtype),
            )
        self.gain, self.floor = gain(model.norm.weight).to(dtype), floor(model.config.width)

    @classmethod
    def of(cls, model: ImageAR | PackedImageAR, dtype: torch.dtype) -> PackedImageAR:
        """The model itself where it is packed already."""
        return model if isinstance(model, PackedImageAR) else cls(model, dtype)

    def new_cache(self, batch: int, capacity: int, dtype: torch.dtype) -> list[LayerCache]:
        """Static key/value cache for `capacity` tokens. Its keys are in this class's own order of features."""
        return self.model.new_cache(batch, capacity, dtype)

    def embed(self, tokens: Tokens) -> Float[Tensor, "b s d"]:
        """As `ImageAR.embed`; plain text has no places to speak of."""
        if tokens.is_cell.any() or tokens.asked.any():
            return self.model.embed(tokens, self.dtype)
        return self.table[tokens.ids] + self.roles[tokens.role]

    def text_logits(self, hidden: Float[Tensor, "*n d"]) -> Float[Tensor, "*n v"]:
        """Next-token logits with the tied embedding, fp32."""
        return self.words(hidden).float()

    @torch.inference_mode()
    def hidden(
        self,
        tokens: Tokens,
        mask: Bool[Tensor, "b 1 queries n"],
        dtype: torch.dtype,
        cache: Sequence[LayerCache] | None = None,
        start: int = 0,
    ) -> tuple[Float[Tensor, "b s d"], Float[Tensor, " two"]]:
        """As `ImageAR.hidden`; the losses are zero. `dtype` must be the one this was packed for. mask: see `PackedBlock`."""
        assert dtype == self.dtype
        b, s = tokens.ids.shape
        x = self.embed(tokens).flatten(0, 1)
        turns = torch.stack((tokens.asks, tokens.lies), 2)
        rotation = torch.complex(*rope_table(turns, self.config.head_dim))[:, :, :, None]
        bias = None if mask.all() else torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, -torch.inf)
        cache = cache or self.new_cache(b, s, dtype)
        for block, layer in zip(self.blocks, cache, strict=True):
            x = block(x, rotation, bias, layer, start)
        return (direction(x, self.floor) * self.gain).view(b, s, -1), torch.zeros(2)
