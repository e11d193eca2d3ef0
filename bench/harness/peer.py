"""The image model's backbone as a Hugging Face module with the same weights.

`Glm4MoeForCausalLM` is the same network on text: sigmoid router with a selection bias, gates that sum to one, a shared expert,
dense first layers, QK-norm, half-split rotary positions. Only the input differs (a scaled embedding plus the text role), and
that is folded into the peer's embedding table.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import Glm4MoeConfig, Glm4MoeForCausalLM
from transformers.utils import logging

from polarlight.models.image_ar import ImageAR, ImageARConfig
from polarlight.models.image_grammar import Role
from polarlight.nn.layers import SwiGLU
from polarlight.nn.moe import DenseMLP

EXPERTS = ("eager", "grouped_mm", "batched_mm")
BIAS = 0.05  # spread of the selection biases, so that equality tests them too

logging.set_verbosity_error()


def new_model(config: ImageARConfig, seed: int = 0) -> ImageAR:
    """A seeded image model whose selection biases are not all zero."""
    torch.manual_seed(seed)
    model = ImageAR(config).eval()
    for block in model.blocks[config.dense_layers :]:
        block.mlp.bias.normal_(std=BIAS)
    return model


def new_peer(model: ImageAR, dtype: torch.dtype, experts: str = "grouped_mm") -> Glm4MoeForCausalLM:
    """The Hugging Face module that computes what `model` computes on text, in `dtype` (routers' biases stay fp32)."""
    c = model.config
    assert c.shared_hidden % c.expert_hidden == 0, "the peer's shared expert is a whole number of experts wide"
    peer = Glm4MoeForCausalLM(
        Glm4MoeConfig(
            vocab_size=c.vocabulary, hidden_size=c.width, intermediate_size=c.dense_hidden, num_hidden_layers=c.layers,
            num_attention_heads=c.heads, num_key_value_heads=c.heads, head_dim=c.head_dim, rms_norm_eps=1e-6,
            rope_parameters={"rope_type": "default", "rope_theta": 1000.0, "partial_rotary_factor": 1.0},
            moe_intermediate_size=c.expert_hidden, num_experts_per_tok=c.top_k, n_routed_experts=c.experts,
            n_shared_experts=c.shared_hidden // c.expert_hidden, first_k_dense_replace=c.dense_layers, use_qk_norm=True,
            max_position_embeddings=4096, num_nextn_predict_layers=0, attn_implementation="sdpa",
            experts_implementation=experts,
        )
    )  # fmt: skip
    peer.load_state_dict(peer_weights(model))
    peer = peer.to(dtype).eval()
    for layer, block in zip(peer.model.layers, model.blocks, strict=True):
        if not isinstance(block.mlp, DenseMLP):
            layer.mlp.gate.e_score_correction_bias = block.mlp.bias.float().clone()
    return peer


@torch.no_grad()
def peer_weights(model: ImageAR) -> dict[str, Tensor]:
    """The model's weights under the peer's names."""
    text = model.tokens.weight * model.config.width**0.5 + model.roles.weight[Role.TEXT]
    state = {
        "model.embed_tokens.weight": text,
        "lm_head.weight": model.tokens.weight,
        "model.norm.weight": model.norm.weight,
    }
    for number, block in enumerate(model.blocks):
        name = f"model.layers.{number}"
        query, key, value = block.attention.qkv.weight.chunk(3)
        state |= {
            f"{name}.input_layernorm.weight": block.attention_norm.weight,
            f"{name}.post_attention_layernorm.weight": block.mlp_norm.weight,
            f"{name}.self_attn.q_proj.weight": query,
            f"{name}.self_attn.k_proj.weight": key,
            f"{name}.self_attn.v_proj.weight": value,
            f"{name}.self_attn.o_proj.weight": block.attention.out.weight,
            f"{name}.self_attn.q_norm.weight": block.attention.query_norm.weight,
            f"{name}.self_attn.k_norm.weight": block.attention.key_norm.weight,
        }
        if isinstance(block.mlp, DenseMLP):
            state |= swiglu_weights(f"{name}.mlp", block.mlp.mlp)
        else:
            state |= swiglu_weights(f"{name}.mlp.shared_experts", block.mlp.shared)
            state |= {
                f"{name}.mlp.experts.gate_up_proj": block.mlp.up,
                f"{name}.mlp.experts.down_proj": block.mlp.down,
                f"{name}.mlp.gate.weight": block.mlp.router,
                f"{name}.mlp.gate.e_score_correction_bias": block.mlp.bias,
            }
    return {key: value.detach().clone() for key, value in state.items()}


def swiglu_weights(name: str, mlp: SwiGLU) -> dict[str, Tensor]:
    """One SwiGLU's two matrices as the peer's three."""
    gate, value = mlp.up.weight.chunk(2)
    return {
        f"{name}.gate_proj.weight": gate,
        f"{name}.up_proj.weight": value,
        f"{name}.down_proj.weight": mlp.down.weight,
    }
