"""Tiny random models of the architectures of transformers, made from their configurations."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

MOST_PARAMETERS = 5_000_000
WINDOW = 48
"""Of those that slide one: shorter than what the test asks for."""
SPREAD = 4.0
"""How much larger than new ones weights are made, so that no part of a model is nearly linear."""
_LAYERS, _HEADS, _WIDTH, _EXPERTS = 4, 4, 64, 4
_NAMES: Sequence[tuple[Any, str]] = [
    (_LAYERS, "num_hidden_layers n_layer n_layers num_layers decoder_layers num_decoder_layers"),
    (_LAYERS, "encoder_layers num_encoder_layers"),
    (_HEADS, "num_attention_heads n_head n_heads num_heads decoder_attention_heads"),
    (_HEADS, "encoder_attention_heads num_decoder_attention_heads num_encoder_attention_heads"),
    (_HEADS // 2, "num_key_value_heads num_kv_heads"),
    (_WIDTH, "hidden_size n_embd d_model dim embed_dim embedding_size emb_dim n_embed"),
    (_WIDTH, "word_embed_proj_dim"),
    (2 * _WIDTH, "intermediate_size ffn_dim n_inner decoder_ffn_dim encoder_ffn_dim dff"),
    (2 * _WIDTH, "ffn_hidden_size mamba_d_ssm"),
    (_WIDTH // 2, "moe_intermediate_size shared_expert_intermediate_size expert_dim"),
    (_WIDTH // 2, "shared_intermediate_size"),
    (_EXPERTS, "num_experts num_local_experts n_routed_experts moe_num_experts"),
    (_EXPERTS // 2, "num_experts_per_tok moe_k"),
    (_WIDTH // _HEADS, "head_dim kv_lora_rank q_lora_rank v_head_dim"),
    (_WIDTH // _HEADS, "linear_key_head_dim linear_value_head_dim mamba_d_head mamba_head_dim"),
    (8, "qk_rope_head_dim qk_nope_head_dim rotary_dim mamba_d_state state_size ssm_state_size"),
    (8, "mamba_num_heads mamba_n_heads"),
    (2, "linear_num_key_heads linear_num_value_heads"),
    (1, "n_group topk_group num_expert_group first_k_dense_replace mamba_n_groups n_groups"),
    (512, "max_position_embeddings n_positions max_seq_len n_ctx max_target_positions"),
    (WINDOW, "sliding_window attention_chunk_size window_size local_attention"),
    (True, "is_decoder"),
    (0, "pad_token_id bos_token_id"),
    (1, "eos_token_id"),
]
_SMALL = {name: value for value, names in _NAMES for name in names.split()}
_LATENT = {"head_dim": 8, "num_key_value_heads": _HEADS}
_STATED: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "glm4_moe_lite", "minicpm3"), _LATENT),
    **dict.fromkeys(("axk1", "youtu"), _LATENT),
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
