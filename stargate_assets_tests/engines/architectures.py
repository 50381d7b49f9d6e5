"""Tiny random models of the architectures of transformers, made from their configurations."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

MOST_PARAMETERS = 5_000_000
WINDOW = 48
"""Of those that slide one: shorter than what the test asks for."""
SPREAD = 4.0
"""Weights are made so much larger than random ones, that no part of a model is as good as linear."""
_LAYERS, _HEADS, _WIDTH, _EXPERTS = 4, 4, 64, 4
_SMALL: Mapping[str, Any] = {
    **dict.fromkeys(
        ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers")
        + ("num_decoder_layers", "encoder_layers", "num_encoder_layers"),
        _LAYERS,
    ),
    **dict.fromkeys(
        ("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads")
        + ("encoder_attention_heads", "num_decoder_attention_heads")
        + ("num_encoder_attention_heads",),
        _HEADS,
    ),
    **dict.fromkeys(("num_key_value_heads", "num_kv_heads"), _HEADS // 2),
    **dict.fromkeys(
        ("hidden_size", "n_embd", "d_model", "dim", "embed_dim", "embedding_size", "emb_dim")
        + ("word_embed_proj_dim", "n_embed"),
        _WIDTH,
    ),
    **dict.fromkeys(
        ("intermediate_size", "ffn_dim", "n_inner", "decoder_ffn_dim", "encoder_ffn_dim", "dff")
        + ("ffn_hidden_size",),
        2 * _WIDTH,
    ),
    **dict.fromkeys(
        ("moe_intermediate_size", "shared_expert_intermediate_size", "expert_dim")
        + ("shared_intermediate_size",),
        _WIDTH // 2,
    ),
    **dict.fromkeys(
        ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), _EXPERTS
    ),
    **dict.fromkeys(("num_experts_per_tok", "moe_k"), 2),
    **dict.fromkeys(("n_group", "topk_group", "num_expert_group", "first_k_dense_replace"), 1),
    **dict.fromkeys(("head_dim", "kv_lora_rank", "q_lora_rank", "v_head_dim"), _WIDTH // _HEADS),
    **dict.fromkeys(("qk_rope_head_dim", "qk_nope_head_dim", "rotary_dim"), 8),
    **dict.fromkeys(("mamba_d_state", "state_size", "ssm_state_size"), 8),
    **dict.fromkeys(("mamba_num_heads", "mamba_n_heads"), 8),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim"), 16),
    **dict.fromkeys(("mamba_n_groups", "n_groups"), 1),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads"), 2),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 16),
    **dict.fromkeys(
        ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx", "max_target_positions"),
        512,
    ),
    **dict.fromkeys(("sliding_window", "attention_chunk_size", "window_size"), WINDOW),
    **dict.fromkeys(("local_attention",), WINDOW),
    "is_decoder": True,
    "mamba_d_ssm": 2 * _WIDTH,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
_STATED: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(
        ("deepseek_v2", "deepseek_v3", "glm4_moe_lite", "youtu", "axk1", "minicpm3"),
        {"head_dim": 8, "num_key_value_heads": _HEADS},
    ),
    "gpt_neo": {"attention_types": [[["global", "local"], _LAYERS // 2]]},
    "mamba": {"num_heads": 8},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "nanochat": {"final_logit_softcapping": 5.0},
    "xmod": {"default_language": "en_XX"},
}


def configuration(name: str, vocabulary: int, **stated: Any) -> Any:
    """The configuration of an architecture, with the sizes of a tiny model."""
    kind = CONFIG_MAPPING[name]
    whole = kind()
    base = whole.get_text_config()
    sizes = {"vocab_size": vocabulary, **_SMALL}
    chosen = {key: value for key, value in sizes.items() if _takes(base, key)}
    for key in ("layer_types", "mlp_layer_types"):
        if (kinds := getattr(base, key, None)) and _takes(base, key, sequence=True):
            chosen[key] = _spread(list(kinds))
    chosen |= _STATED.get(name, {}) | stated
    return kind(**chosen) if base is whole else kind(text_config=chosen)


def _takes(config: Any, key: str, sequence: bool = False) -> bool:
    written = getattr(type(config), key, None)
    if isinstance(written, property) and written.fset is None:
        return False
    if key in getattr(config, "attribute_map", {}):
        return False
    value = getattr(config, key, "absent")
    if value is None:
        return key not in {"q_lora_rank", "sliding_window", "attention_chunk_size"}
    return isinstance(value, list) if sequence else isinstance(value, int)


def _spread(kinds: list[str]) -> list[str]:
    """As many kinds of layers as there are, in few layers."""
    distinct = list(dict.fromkeys(kinds))
    return (distinct * math.ceil(_LAYERS / len(distinct)))[:_LAYERS]


def tiny_random_model(config: Any) -> Any:
    """Raises ValueError where the configuration is not a tiny model's."""
    with torch.device("meta"):
        parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if parameters > MOST_PARAMETERS:
        raise ValueError(f"{parameters} parameters")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(SPREAD)
    return model
