"""A model that counts what it is asked instead of answering, for estimates."""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from stargate_assets.cli.estimate.tokens import TokenCounter
from stargate_assets.config.machine import Price
from stargate_assets.method.eligibility import MOST_SENTENCES
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Score,
    ScoreRequest,
)
from stargate_assets.storage.completions import CompletionStore, UsageRow, request_key

_WORDS = ("water", "music", "garden", "paper", "winter", "letter", "market", "river", "quiet")
_MOST_WORDS = 50
"""A question of more words would be too long to be scored, as one of more sentences would."""
_SENTENCE_WORDS = 12
Answer = Completion | Score
Answers = Mapping[str, Answer]
Request = TypeVar("Request", ChatRequest, ScoreRequest)


@dataclass(slots=True)
class Calls:
    """`stored` of the calls are answered from disk; tokens are those of the others. For kind
    `score`, `completion_tokens` are those that are scored.
    """

    calls: int = 0
    stored: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class EstimatedCalls:
    """A role's calls in a slice, what they cost and how long they take on this machine; None is
    unknown.
    """

    slice: str
    role: str
    model: str
    kind: str
    calls: int
    stored: int
    """On disk, or asked by an experiment that is run before."""
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None
    seconds: float | None
    tokenizer: str
    measured: bool
    """Whether completions are taken to be as long as they were so far, not as their limit."""
    in_batches: bool = False
    """Then nobody knows how long they take."""


@dataclass(frozen=True, slots=True)
class CountingModel:
    """A LanguageModel that answers from the completion store, or makes words up and counts."""

    counter: TokenCounter
    store: CompletionStore
    identity: str
    mean_tokens: float | None
    """Of a completion, as measured; None is not measured, and its limit is counted."""
    before: Answers
    """What will be on disk by then, by the store's key."""
    asked: dict[str, Answer]
    """Where what is made up is noted, by the same key."""
    counted: dict[str, Calls] = field(default_factory=lambda: defaultdict(Calls))
    """By kind of call: chat or score."""

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]:
        del doing

        def make_up(request: ChatRequest) -> Completion:
            limit = request.sampling.max_tokens
            tokens = round(min(limit, self.mean_tokens or limit))
            prompt = self.counter.prompt(request.messages)
            return Completion(
                make_up_words(f"{self.identity} {request!r}", tokens), "stop", prompt, tokens
            )

        return self._answer(requests, make_up, "chat")

    def score(self, requests: Sequence[ScoreRequest], doing: str) -> list[Score]:
        del doing

        def make_up(request: ScoreRequest) -> Score:
            tokens = max(1, self.counter.text(request.continuation))
            # Not the same for all, or a Roleplayer that chooses would find nothing to say.
            log_prob = random.Random(f"{self.identity} {request!r}").uniform(-2, 0)
            return Score((log_prob,) * tokens, self.counter.prompt(request.messages))

        return self._answer(requests, make_up, "score")

    def _answer(
        self, requests: Sequence[Request], make_up: Callable[[Request], Any], kind: str
    ) -> list[Any]:
        calls = self.counted[kind]
        keys = {request: request_key(self.identity, request) for request in requests}
        stored: Mapping[str, Answer] = self.store.read(list(keys.values()))
        results: dict[Request, Answer] = {}
        for request, key in keys.items():
            calls.calls += 1
            there = stored.get(key) or self.before.get(key)
            if there is not None:
                calls.stored += 1
                results[request] = there
                continue
            self.asked[key] = results[request] = result = make_up(request)
            calls.prompt_tokens += result.prompt_tokens
            calls.completion_tokens += result.completion_tokens
        return [results[request] for request in requests]


@dataclass(frozen=True, slots=True)
class DecidingModel:
    """A model that counts, for a Judge: its verdicts can be read, so none is asked for again."""

    model: CountingModel

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]:
        return [replace(c, text="Verdict: A") for c in self.model.chat(requests, doing)]

    def score(self, requests: Sequence[ScoreRequest], doing: str) -> list[Score]:
        return self.model.score(requests, doing)


def dollars_of(
    price: Price | None, kind: str, prompt: int, completion: int, made: int
) -> float | None:
    """What tokens in so many calls cost; None if the model has no price."""
    if price is None:
        return None
    if kind == "score":
        return price.dollars_of_scores(prompt, completion, made)
    return price.dollars(prompt, completion)


def mean_tokens_so_far(
    usage: Sequence[UsageRow], schema: str, role: str, model: str
) -> float | None:
    """Of a role's completions in a schema; None if it has none."""
    of_role = [
        row
        for row in usage
        if (row.schema_name, row.role, row.model, row.kind) == (schema, role, model, "chat")
    ]
    calls = sum(row.calls for row in of_role)
    return sum(row.completion_tokens for row in of_role) / calls if calls else None


def seconds_so_far(
    usage: Sequence[UsageRow], model: str, kind: str, prompt: int, completion: int
) -> float | None:
    """How long tokens take at the speed that this machine had so far, by tokens written or, of
    scores, read; None if the model was never asked here.
    """
    rows = [row for row in usage if (row.model, row.kind) == (model, kind)]
    read = kind == "score"
    tokens = sum(row.prompt_tokens * read + row.completion_tokens for row in rows)
    if not tokens:
        return None
    return (prompt * read + completion) * sum(row.seconds for row in rows) / tokens


def make_up_words(seed: str, tokens: int) -> str:
    """About that many tokens, others for another seed: statements, so that it may be an answer or
    a reply, and a question, so that it may be a turn.
    """
    draw = random.Random(seed)
    count = max(2, min(tokens - MOST_SENTENCES, _MOST_WORDS))
    drawn = [draw.choice(_WORDS) for _ in range(count)]
    ends = range(0, count - 1, _SENTENCE_WORDS)[: MOST_SENTENCES - 1]
    for end in ends:
        drawn[end] += "."
    return " ".join(drawn + [","] * (tokens - 1 - len(ends) - count)) + "?"
