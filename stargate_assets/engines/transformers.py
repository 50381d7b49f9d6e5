"""The embedded engine: transformers on CPU or one GPU, faster than `generate` for the requests of
this method.

A prefix that several prompts share is computed once, prompts are computed in small batches and
decoded in one large one, rows that finish make room for the next, and only the scored positions
meet the vocabulary. What it leaves out: models whose layers do not all attend to the whole context
(use vLLM for those), and more than one GPU.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from stargate_assets.engines.adapters import AdaptedWeights
from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.engines.engine import Checkpoint, OnText, Opening
from stargate_assets.engines.forward import SharedPrefixes
from stargate_assets.engines.loading import loading
from stargate_assets.engines.prefixes import Tokens
from stargate_assets.engines.probe import probe
from stargate_assets.engines.row_cache import FEWEST_ROWS
from stargate_assets.engines.sampling import sample
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Failure,
    Results,
    Score,
    ScoreRequest,
    find_too_long,
)

HALF_A_CHARACTER = "\ufffd"
"""What the first tokens of a character are decoded to."""
LEAST_FREE_SHARE = 8
"""Prompts are let in when an eighth of the rows is free: one at a time would not fill a batch."""


def open_engine(opening: Opening) -> "TransformersEngine":
    """Load the model's weights."""
    disable_progress_bar()  # ours is on_progress
    loading, machine = f"loading {Path(opening.path).name}", opening.machine
    opening.on_progress(loading, 0, 1)
    engine = TransformersEngine(
        opening.path,
        opening.revision,
        opening.dtype,
        opening.device,
        Batching(machine.decode_rows, machine.prefill_tokens),
        opening.spec.chat_template_kwargs,
    )
    opening.on_progress(loading, 1, 1)
    return engine


@dataclass(frozen=True, slots=True)
class Batching:
    """What fits the machine: rows decoded together, and tokens (padding included) computed
    together.
    """

    decode_rows: int = 64
    prefill_tokens: int = 2048


@dataclass(frozen=True, slots=True)
class _Row:
    """A completion under way."""

    index: int
    request: ChatRequest
    random: random.Random
    tokens: list[int]


class TransformersEngine:
    """One base model in memory, with any number of LoRA adapters that are switched, not
    reloaded.
    """

    def __init__(
        self,
        path: str,
        revision: str | None,
        dtype: str,
        device: str,
        limits: Batching,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ):
        self.device, self.limits = torch.device(device), limits
        with loading(path):
            tokenizer = AutoTokenizer.from_pretrained(path, revision=revision or "main")
            model: Any = AutoModelForCausalLM.from_pretrained(
                path,
                revision=revision or "main",
                dtype=getattr(torch, dtype),
                attn_implementation="eager",
            )
        self.model: Any = model.to(self.device).eval()
        self.tokenizer = ChatTokenizer(tokenizer, path, chat_template_kwargs)
        self.weights = AdaptedWeights(self.model)
        self.forward = probe(
            self.model, path, self.tokenizer.text_vocabulary(), limits.prefill_tokens
        )
        self.stop_ids = self.tokenizer.stop_ids(self.model.generation_config)

    def use(self, checkpoint: Checkpoint | None) -> None:
        """Make the weights those of the base model (None) or of an adapter."""
        self.weights.use(checkpoint.path if checkpoint else None)

    def close(self) -> None:
        """Nothing to do: the memory goes with the last reference."""

    def chat(self, requests: Sequence[ChatRequest]) -> Results[Completion]:
        """Completions in the order in which they end. Each row draws one number a token from its
        own seeded generator.
        """
        return self._chat(requests, None)

    def stream(self, request: ChatRequest, on_text: OnText) -> Results[Completion]:
        """The same completion as of `chat`, whose text `on_text` is told of after each token."""
        return self._chat([request], on_text)

    @torch.inference_mode()
    def _chat(self, requests: Sequence[ChatRequest], on_text: OnText | None) -> Results[Completion]:
        if not requests:
            return
        prompt_of = self.tokenizer.prompts(requests)
        lengths = [len(p) + r.sampling.max_tokens for p, r in zip(prompt_of, requests, strict=True)]
        fitting, too_long = self._find_too_long(lengths)
        for index, failure in too_long.items():
            yield index, Completion.failed(failure)
        if not fitting:
            return
        prompts = sorted({prompt_of[index] for index in fitting})
        prefixes = SharedPrefixes(self.forward, prompts, [len(prompt) - 1 for prompt in prompts])
        leaf_of = {prompt: leaf for leaf, prompt in enumerate(prompts)}
        waiting = sorted(((leaf_of[prompt_of[index]], index) for index in fitting), reverse=True)
        slots: list[_Row | None] = [None] * max(
            FEWEST_ROWS, min(self.limits.decode_rows, len(fitting))
        )
        cache = self.forward.cache(len(slots), max(lengths[index] for index in fitting))
        head, logits = self.forward.head, self.forward.no_logits(len(slots))
        while waiting or any(slots):
            free = [slot for slot, row in enumerate(slots) if row is None]
            if waiting and len(free) >= max(1, len(slots) // LEAST_FREE_SHARE):
                arriving = [waiting.pop() for _ in range(min(len(free), len(waiting)))]
                ends = prefixes.ends(sorted({leaf for leaf, _ in arriving}))
                for slot, (leaf, index) in zip(free, arriving, strict=False):
                    state, hidden = ends[leaf]
                    cache.put(slot, state)
                    logits[slot] = head(hidden[None])[0]
                    seeded = random.Random(requests[index].seed)
                    slots[slot] = _Row(index, requests[index], seeded, [])
            elif not waiting and FEWEST_ROWS < len(slots) < 2 * len(free):
                kept = sorted(range(len(slots)), key=lambda slot: slots[slot] is None)
                kept = kept[: max(FEWEST_ROWS, len(slots) - len(free))]
                cache.keep(kept)
                logits, slots = logits[kept], [slots[slot] for slot in kept]
            chosen = _choose(logits, slots)
            for slot, row in enumerate(slots):
                if row is not None and (ended := self._grow(row, chosen[slot], prompt_of)):
                    slots[slot] = None
                    cache.put(slot, None)
                    yield row.index, ended
                elif row is not None and on_text is not None:
                    so_far = self.tokenizer.completion(prompt_of[row.index], row.tokens, False)
                    on_text(so_far.text.rstrip(HALF_A_CHARACTER))
            if any(slots):
                tokens = torch.tensor(chosen, device=self.device)[:, None]
                logits = head(cache.forward(self.forward.decoder, tokens)[:, -1])
                cache.lengths += torch.tensor([r is not None for r in slots], device=self.device)

    @torch.inference_mode()
    def score(self, requests: Sequence[ScoreRequest]) -> Results[Score]:
        """Log-probabilities of the continuations, found by token offset: no padding can enter
        them.
        """
        if not requests:
            return
        scored = self.tokenizer.scored(requests)
        contexts = [len(context) for context, _ in scored]
        yield from self.score_tokens([before + said for before, said in scored], contexts)

    @torch.inference_mode()
    def score_tokens(self, sequences: Sequence[Tokens], contexts: Sequence[int]) -> Results[Score]:
        """Log-probabilities of the tokens of each sequence but for its context, so many of the
        first.
        """
        fitting, too_long = self._find_too_long([len(tokens) for tokens in sequences])
        for index, failure in too_long.items():
            yield index, Score.failed(failure)
        if not fitting:
            return
        order = sorted(fitting, key=lambda index: sequences[index])
        prefixes = SharedPrefixes(
            self.forward,
            [sequences[index] for index in order],
            [contexts[index] - 1 for index in order],
        )
        for leaf, log_probs in prefixes.log_probs():
            yield order[leaf], Score(tuple(log_probs), contexts[order[leaf]])

    def _grow(self, row: _Row, token: int, prompt_of: Sequence[Tokens]) -> Completion | None:
        """Append a token to a row, unless it ends it; the completion if the row has ended."""
        stopped = token in self.stop_ids
        if not stopped:
            row.tokens.append(token)
        if not stopped and len(row.tokens) < row.request.sampling.max_tokens:
            return None
        return self.tokenizer.completion(prompt_of[row.index], row.tokens, stopped)

    def _find_too_long(self, lengths: Sequence[int]) -> tuple[list[int], dict[int, Failure]]:
        return find_too_long(lengths, self.forward.longest, f"{self.tokenizer.name} in this engine")


def _choose(logits: torch.Tensor, slots: Sequence[_Row | None]) -> list[int]:
    """The next token of each slot; 0 for empty ones."""
    chosen = [0] * len(slots)
    rows = [(slot, row) for slot, row in enumerate(slots) if row is not None]
    greedy = [slot for slot, row in rows if row.request.sampling.temperature == 0]
    hot = [(slot, row) for slot, row in rows if row.request.sampling.temperature > 0]
    if greedy:
        for slot, token in zip(greedy, logits[greedy].argmax(-1).tolist(), strict=True):
            chosen[slot] = token
    if hot:
        tokens = sample(
            logits[[slot for slot, _ in hot]] if len(hot) < len(slots) else logits,
            [row.request.sampling for _, row in hot],
            [row.random.random() for _, row in hot],
        )
        for (slot, _), token in zip(hot, tokens, strict=True):
            chosen[slot] = token
    return chosen
