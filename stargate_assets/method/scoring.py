"""The base model scores gold responses, each under the conditions that the cell needs."""

import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from stargate_assets.method.conditions import CONTROLS, Condition
from stargate_assets.method.conversation import (
    Conversation,
    Pair,
    all_others_responses,
    others_responses,
)
from stargate_assets.method.eligibility import ineligibility
from stargate_assets.method.keys import derive_seed
from stargate_assets.method.language_model import (
    TOGETHER,
    LanguageModel,
    Score,
    ScoreRequest,
    in_parts,
)
from stargate_assets.method.multiple_choice import normalise_choice
from stargate_assets.method.objectives import OBJECTIVES, Candidates
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.simulation import Cell


@dataclass(frozen=True, slots=True)
class GoldLogProb:
    """log p(gold response | context) under the base model: `log_prob` in nats over `tokens`
    tokens.
    """

    pair: Pair
    condition: Condition
    sample: int | None
    """None for the controls, which depend on no conversation."""
    heard_persona_id: str | None
    """Whose conversation was the context; None for the controls. The gold response is the pair's,
    but of condition contrast.
    """
    log_prob: float
    tokens: int
    choice_log_prob: float | None = None
    """The same normalised over the candidates that it was chosen among, in nats; None where there
    were none, or one of them is too long for the model.
    """
    chosen: bool | None = None
    """Whether it is more probable than each other candidate; None as above."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a gold response is scored under, and the row that it is for. `heard` is None for the
    controls.
    """

    pair: Pair
    condition: Condition
    sample: int | None
    heard: Conversation | None
    gold_response: str
    alternatives: tuple[str, ...] = ()
    """The other candidates that it is chosen among."""

    @property
    def heard_persona_id(self) -> str | None:
        """Whose conversation it is."""
        return None if self.heard is None else self.heard.pair.persona.persona_id

    def requests(self, prompts: Prompts) -> list[ScoreRequest]:
        """What the scorer is asked: the gold response, then each alternative."""
        gold = self.request(prompts)
        return [gold, *(replace(gold, continuation=text) for text in self.alternatives)]

    def request(self, prompts: Prompts) -> ScoreRequest:
        """What the scorer is asked of the gold response."""
        if self.heard is not None:
            messages = prompts.respondent_messages(self.heard, self.pair)
        elif self.condition is Condition.NEGATIVE_CONTROL:
            messages = prompts.negative_control_messages(self.pair)
        else:
            messages = prompts.positive_control_messages(self.pair)
        return ScoreRequest(messages, self.gold_response)


def score_gold_responses(
    scorer: LanguageModel,
    conversations: Sequence[Conversation],
    gold_texts: Mapping[tuple[str, str], str],
    cell: Cell,
    seed: int,
    prompts: Prompts,
    objective: str = "sum",
) -> list[GoldLogProb]:
    """Score the gold response of each conversation's pair under the conditions of the cell (see
    `gold_contexts`). What cannot be scored, because it is too long for the model, has no row. One
    call of the scorer for each part (see `in_parts`).
    """
    found: list[GoldLogProb] = []
    contexts = gold_contexts(conversations, gold_texts, cell, seed, objective)
    for part in in_parts(contexts, TOGETHER):
        asked = [context.requests(prompts) for context in part]
        requests = [request for of_context in asked for request in of_context]
        scores = iter(scorer.score(requests, "scoring gold responses"))
        for context, of_context in zip(part, asked, strict=True):
            gold, *others = [next(scores) for _ in of_context]
            if gold.failure is None:
                found.append(_gold_log_prob(context, gold, others))
    return found


def _gold_log_prob(context: Context, gold: Score, others: Sequence[Score]) -> GoldLogProb:
    choice = None
    if others and not any(other.failure for other in others):
        choice = normalise_choice([gold.total, *(other.total for other in others)])
    return GoldLogProb(
        context.pair,
        context.condition,
        context.sample,
        context.heard_persona_id,
        gold.total,
        len(gold.log_probs),
        choice and choice.log_probs[0],
        choice and choice.chooses(0),
    )


def gold_contexts(
    conversations: Sequence[Conversation],
    gold_texts: Mapping[tuple[str, str], str],
    cell: Cell,
    seed: int,
    objective: str,
) -> list[Context]:
    """What is scored in a cell: on the held-out split the gold response of every conversation's
    pair under the four conditions of the paper, the controls once a pair, each among the options of
    its task if it has some; elsewhere after the eligible conversations alone, under what the
    objective of selection compares them with, and among the candidates that it needs.

    `gold_texts` is by (task_id, persona_id); a pair that has none is not scored.
    """
    scored = [c for c in conversations if c.pair.key in gold_texts]
    candidates = OBJECTIVES[objective].candidates
    if cell.split == TEST_SPLIT:
        contexts, candidates = (
            _test_contexts(conversations, scored, gold_texts, cell, seed),
            "options",
        )
    else:
        contexts = _training_contexts(scored, gold_texts, cell, seed, objective)
    if candidates is None:
        return list(contexts)
    others = _other_candidates(candidates, {c.pair for c in scored}, gold_texts)
    return [
        context
        if context.condition is Condition.CONTRAST
        else replace(context, alternatives=others[context.pair])
        for context in contexts
    ]


def _other_candidates(
    candidates: Candidates, pairs: Collection[Pair], gold_texts: Mapping[tuple[str, str], str]
) -> dict[Pair, tuple[str, ...]]:
    """What else than its gold response each pair could have."""
    if candidates == "gold_responses":
        return all_others_responses(pairs, gold_texts)
    return {
        pair: tuple(option for option in pair.task.options if option != gold_texts[pair.key])
        for pair in pairs
    }


def _training_contexts(
    scored: Sequence[Conversation],
    gold_texts: Mapping[tuple[str, str], str],
    cell: Cell,
    seed: int,
    objective: str,
) -> list[Context]:
    eligible = [c for c in scored if ineligibility(c) is None]
    own = [_after(c, Condition.EXPERIMENTAL, c, gold_texts[c.pair.key]) for c in eligible]
    compared_with = OBJECTIVES[objective].compared_with
    if compared_with is None:
        return own
    if compared_with in CONTROLS:
        pairs = dict.fromkeys(c.pair for c in eligible)
        gold = gold_texts
        return own + [_control(pair, compared_with, gold[pair.key]) for pair in pairs]
    pairs = list(dict.fromkeys(c.pair for c in scored))
    return own + list(_contrasts(pairs, eligible, gold_texts, cell, seed))


def _control(pair: Pair, condition: Condition, gold_response: str) -> Context:
    return Context(pair, condition, None, None, gold_response)


def _after(
    conversation: Conversation, condition: Condition, heard: Conversation, gold_response: str
) -> Context:
    """The gold response after `heard`, in the row of `conversation`."""
    return Context(conversation.pair, condition, conversation.sample, heard, gold_response)


def _test_contexts(
    conversations: Sequence[Conversation],
    scored: Sequence[Conversation],
    gold_responses: Mapping[tuple[str, str], str],
    cell: Cell,
    seed: int,
) -> Iterator[Context]:
    for pair in dict.fromkeys(c.pair for c in scored):
        for condition in CONTROLS:
            yield _control(pair, condition, gold_responses[pair.key])
    others = other_conversations(conversations, cell, seed)
    for conversation, other in zip(conversations, others, strict=True):
        if (gold_response := gold_responses.get(conversation.pair.key)) is None:
            continue
        yield _after(conversation, Condition.EXPERIMENTAL, conversation, gold_response)
        if other is not None:
            yield _after(conversation, Condition.RANDOM, other, gold_response)


def _contrasts(
    pairs: Sequence[Pair],
    eligible: Sequence[Conversation],
    gold_texts: Mapping[tuple[str, str], str],
    cell: Cell,
    seed: int,
) -> Iterator[Context]:
    """Another persona's gold response after each conversation: of all siblings the same one, so
    that they are compared by what they bring out.
    """
    others = others_responses(pairs, gold_texts, "contrast", cell.split, seed)
    for c in eligible:
        if c.pair in others:
            yield _after(c, Condition.CONTRAST, c, others[c.pair][1])


def other_conversations(
    conversations: Sequence[Conversation], cell: Cell, seed: int
) -> list[Conversation | None]:
    """For each conversation one about the same task with a different persona, drawn by key; None
    where there is none.
    """
    by_task: dict[str, list[Conversation]] = {}
    for conversation in conversations:
        by_task.setdefault(conversation.pair.task.task_id, []).append(conversation)
    others: list[Conversation | None] = []
    for conversation in conversations:
        pair = conversation.pair
        candidates = [c for c in by_task[pair.task.task_id] if c.pair.persona != pair.persona]
        candidates.sort(key=lambda c: (c.pair.persona.persona_id, c.sample))
        key = ("random", *conversation.key)
        draw = random.Random(derive_seed(seed, cell.iteration, cell.split, *key))
        others.append(draw.choice(candidates) if candidates else None)
    return others
