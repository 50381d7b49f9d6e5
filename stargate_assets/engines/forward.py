"""Prompt computation for the transformers engine: shared prefixes once, segments in batches of
similar length.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from stargate_assets.engines.head import Head
from stargate_assets.engines.prefixes import Tokens, plan_prefixes
from stargate_assets.engines.row_cache import FEWEST_ROWS, RowCache

SHORTEST_SHARED_PREFIX = 8
SEQUENCES_AT_ONCE = 64
POSITIONS_AT_ONCE = 256

Each = Callable[[int, RowCache, int, torch.Tensor], None]
"""Called with a job's number, the cache, the job's row in it, and its hidden states (T, width)."""


@dataclass(frozen=True, slots=True)
class Forward:
    """A decoder, the model's way from its hidden states to logits, and over how many tokens, the
    shape of its cache (layers, heads, dim), a tensor like those in it, how many tokens fit a batch,
    and how many a row may have.
    """

    decoder: Any
    head: Head
    vocabulary: int
    cache_shape: tuple[int, int, int]
    like: torch.Tensor
    prefill_tokens: int
    longest: int | None

    def cache(self, rows: int, capacity: int) -> RowCache:
        return RowCache(self.cache_shape, rows, capacity, self.like)

    def no_logits(self, rows: int) -> torch.Tensor:
        """Room for the logits of rows: (rows, vocabulary)."""
        return self.like.new_zeros((rows, self.vocabulary), dtype=torch.float32)

    def extend(
        self, prefixes: Sequence[torch.Tensor | None], segments: Sequence[Tokens], each: Each
    ) -> None:
        """Compute each segment after its prefix."""
        order = sorted(range(len(segments)), key=lambda job: len(segments[job]))
        while order:
            width = max(FEWEST_ROWS, len(segments[order[-1]]))
            count = max(1, min(len(order), self.prefill_tokens // width))
            batch, order = order[-count:], order[:-count]
            tokens = torch.zeros((len(batch), width), dtype=torch.long)
            for row, job in enumerate(batch):
                tokens[row, : len(segments[job])] = torch.tensor(segments[job])
            held = [0 if (p := prefixes[job]) is None else p.shape[-2] for job in batch]
            cache = self.cache(len(batch), max(held) + width)
            for row, job in enumerate(batch):
                cache.put(row, prefixes[job])
            hidden = cache.forward(self.decoder, tokens.to(self.like.device))
            for row, job in enumerate(batch):
                each(job, cache, row, hidden[row, : len(segments[job])])

    def log_probs(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """log p(targets) in nats, from hidden states (M, width): (M,). Only a few positions meet
        the vocabulary at once.
        """
        parts: list[torch.Tensor] = []
        for states, tokens in zip(
            hidden.split(POSITIONS_AT_ONCE), targets.split(POSITIONS_AT_ONCE), strict=True
        ):
            logits = self.head(states).float()
            parts.append(logits.gather(-1, tokens[:, None])[:, 0] - logits.logsumexp(-1))
        return torch.cat(parts)


class SharedPrefixes:
    """The key-value states of the prefixes that sorted, distinct sequences share: each is computed
    once, when it is first needed, and dropped after its last use. No prefix of sequence i reaches
    beyond `limits[i]` tokens.
    """

    def __init__(self, forward: Forward, sequences: Sequence[Tokens], limits: Sequence[int]):
        self.forward, self.sequences, self.limits = forward, sequences, limits
        self.plan = plan_prefixes(sequences, limits, SHORTEST_SHARED_PREFIX)
        self.states: dict[int, torch.Tensor] = {}
        self.last_use = {
            node: leaf for leaf in range(len(sequences)) for node in self.plan.path(leaf)
        }

    def ends(self, leaves: Sequence[int]) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        """For each of these sequences its whole key-value state, and the hidden state of its last
        token.
        """
        states: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

        def keep(job: int, cache: RowCache, row: int, hidden: torch.Tensor) -> None:
            length = len(self.sequences[leaves[job]])
            states[leaves[job]] = cache.take(row, length), hidden[-1]

        self._extend(leaves, keep)
        return states

    def log_probs(self) -> Iterator[tuple[int, list[float]]]:
        """For each sequence log p of the tokens that follow position `limits[i]`, given all before
        them.
        """
        for first in range(0, len(self.sequences), SEQUENCES_AT_ONCE):
            leaves = range(first, min(first + SEQUENCES_AT_ONCE, len(self.sequences)))
            hidden: dict[int, torch.Tensor] = {}

            def keep(
                job: int, _: RowCache, __: int, states: torch.Tensor, kept=hidden, of=leaves
            ) -> None:
                scored = len(self.sequences[of[job]]) - self.limits[of[job]] - 1
                kept[of[job]] = states[len(states) - scored - 1 : -1].clone()

            self._extend(leaves, keep)
            scored = [self.sequences[leaf][self.limits[leaf] + 1 :] for leaf in leaves]
            joined = torch.cat([hidden[leaf] for leaf in leaves])
            targets = torch.tensor([token for tokens in scored for token in tokens])
            found = self.forward.log_probs(joined, targets.to(joined.device))
            for leaf, part in zip(leaves, found.split(list(map(len, scored))), strict=True):
                yield leaf, part.tolist()

    def _extend(self, leaves: Sequence[int], each: Each) -> None:
        self._prepare(leaves)
        parents = [self.plan.parents[leaf] for leaf in leaves]
        self.forward.extend(
            [None if parent is None else self.states[parent] for parent in parents],
            [
                self.sequences[leaf][0 if parent is None else self.plan.nodes[parent].end :]
                for leaf, parent in zip(leaves, parents, strict=True)
            ],
            each,
        )
        for node in [node for node in self.states if self.last_use[node] <= leaves[-1]]:
            del self.states[node]

    def _prepare(self, leaves: Sequence[int]) -> None:
        """Compute the prefixes that these leaves need and that are not there, level by level."""
        wanted = dict.fromkeys(node for leaf in leaves for node in self.plan.path(leaf))
        missing = [node for node in wanted if node not in self.states]
        while missing:
            parents = {node: self.plan.nodes[node].parent for node in missing}
            ready = [n for n in missing if (p := parents[n]) is None or p in self.states]
            nodes = [self.plan.nodes[node] for node in ready]
            computed: dict[int, torch.Tensor] = {}

            def keep(job: int, cache: RowCache, row: int, _: torch.Tensor, kept=computed, of=nodes):
                kept[job] = cache.take(row, of[job].end).clone()

            self.forward.extend(
                [None if node.parent is None else self.states[node.parent] for node in nodes],
                [self.sequences[node.leaf][node.start : node.end] for node in nodes],
                keep,
            )
            self.states |= {ready[job]: state for job, state in computed.items()}
            missing = [node for node in missing if node not in self.states]
