"""A key-value cache whose rows have lengths of their own, and the attention that reads it.

Every row keeps its tokens contiguous from position 0, and the attention is a plain product over a
key axis padded to a multiple of `ALIGNMENT`. In bf16 on a CPU without AMX the arithmetic of a row
is then the same, bit for bit, whatever stands in the other rows and however its prompt was split
into prefixes (`stargate_assets_tests/engines/test_transformers.py`): a resumed run samples what an
uninterrupted one would have.
"""

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

ALIGNMENT = 32
FEWEST_ROWS = 2
"""A product with one row takes another path, with another rounding."""
GROUPED_ATTENTION = "stargate_grouped"
PASSED = {"position_ids", "cache_position"}
"""Tensors that models pass on to an attention, and that have their effect before it."""


def align_length(length: int) -> int:
    return -(-length // ALIGNMENT) * ALIGNMENT


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Grouped-query attention without repeating keys and values.

    query (B, G * H, T, D), key and value (B, H, L, D), attention_mask (B, 1, T, L) boolean -> (B,
    T, G * H, D). `s_aux` (G * H) are sinks: scores of keys that have no values. Raises ValueError
    for tensors that this attention does not know.
    """
    batch, heads, length, dim = query.shape
    key_heads, key_length = key.shape[1], key.shape[2]
    groups = heads // key_heads
    packed = query.reshape(batch, key_heads, groups * length, dim)
    scores = torch.matmul(packed, key.transpose(-1, -2)).float().mul_(scaling or dim**-0.5)
    unknown = sorted(name for name in others.keys() - PASSED if torch.is_tensor(others[name]))
    if attention_mask is None or unknown:
        raise ValueError(f"attention with {', '.join(unknown) or 'no mask'}")
    if softcap is not None:
        scores = (scores / softcap).tanh_().mul_(softcap)
    scores = scores.view(batch, key_heads, groups, length, key_length)
    scores = scores.masked_fill_(~attention_mask[:, :, None], float("-inf"))
    if s_aux is not None:
        sinks = s_aux.float().view(1, key_heads, groups, 1, 1).expand(batch, -1, -1, length, 1)
        scores = torch.cat([scores, sinks], -1)
    scores = scores.softmax(-1)[..., :key_length]
    weights = scores.to(value.dtype).view(batch, key_heads, groups * length, key_length)
    output = torch.matmul(weights, value).view(batch, heads, length, dim)
    return output.transpose(1, 2).contiguous(), None


AttentionInterface.register(GROUPED_ATTENTION, grouped_attention)
AttentionMaskInterface.register(GROUPED_ATTENTION, sdpa_mask)


class RowLayer(CacheLayerMixin):
    """One layer's view of a `RowCache`."""

    def __init__(self, cache: "RowCache", index: int):
        super().__init__()
        self.cache, self.index, self.is_initialized = cache, index, True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        pass

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        cache = self.cache
        keys, values = cache.storage[self.index, 0], cache.storage[self.index, 1]
        rows = torch.arange(len(cache.positions), device=keys.device)[:, None]
        keys[rows, :, cache.positions] = key_states.transpose(1, 2)
        values[rows, :, cache.positions] = value_states.transpose(1, 2)
        return keys, values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.get_max_length(), 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return self.cache.storage.shape[-2]


class RowCache(Cache):
    """`storage` is (layers, 2, rows, heads, capacity, dim); row r holds `lengths[r]` tokens."""

    def __init__(self, shape: tuple[int, int, int], rows: int, capacity: int, like: torch.Tensor):
        layers, heads, dim = shape
        self.storage = like.new_zeros((layers, 2, rows, heads, align_length(capacity), dim))
        self.lengths = torch.zeros(rows, dtype=torch.long, device=like.device)
        self.positions = self.lengths[:, None]
        super().__init__(layers=[RowLayer(self, index) for index in range(layers)])

    def put(self, row: int, prefix: torch.Tensor | None) -> None:
        """Make `prefix` (layers, 2, heads, length, dim) the whole content of a row."""
        length = 0 if prefix is None else prefix.shape[-2]
        if prefix is not None:
            self.storage[:, :, row, :, :length] = prefix
        self.lengths[row] = length

    def take(self, row: int, length: int) -> torch.Tensor:
        """A view of the first `length` tokens of a row, as `put` wants them."""
        return self.storage[:, :, row, :, :length]

    def keep(self, rows: list[int]) -> None:
        """Forget every row but these, which become rows 0, 1, ..."""
        self.storage = self.storage[:, :, rows]
        self.lengths = self.lengths[rows]

    def forward(self, decoder: torch.nn.Module, tokens: torch.Tensor) -> torch.Tensor:
        """Run (rows, T) new tokens after what each row holds; hidden states (rows, T, width).

        Rows shorter than T are padded on the right; the caller then sets `lengths` to what is real.
        """
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        self.positions = self.lengths[:, None] + steps
        keys = torch.arange(self.storage.shape[-2], device=tokens.device)
        mask = keys[None, None, None, :] <= self.positions[:, None, :, None]
        return decoder(
            input_ids=tokens,
            attention_mask=mask,
            position_ids=self.positions,
            past_key_values=self,
            use_cache=True,
        ).last_hidden_state
