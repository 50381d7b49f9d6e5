"""The four conditions under which the base model scores a gold response (section 5)."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stargate_assets.language_model import LanguageModel, Message, ScoreRequest
from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.eligibility import ineligibility
from stargate_assets.method.keys import derive_seed
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.prompts import (
    negative_control_messages,
    positive_control_messages,
    respondent_messages,
)
from stargate_assets.method.simulation import Cell


class Condition(StrEnum):
    NEGATIVE_CONTROL = "negative_control"
    EXPERIMENTAL = "experimental"
    RANDOM = "random"
    POSITIVE_CONTROL = "positive_control"


CONTROLS = (Condition.NEGATIVE_CONTROL, Condition.POSITIVE_CONTROL)
"""Conditions without a conversation, which depend on no policy."""


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
    """Whose conversation was the context; None for the controls."""
    log_prob: float
    tokens: int


def score_gold_responses(
    scorer: LanguageModel,
    conversations: Sequence[Conversation],
    gold_responses: Mapping[tuple[str, str], str],
    cell: Cell,
    seed: int,
) -> list[GoldLogProb]:
    """Score the gold response of each conversation's pair: on the held-out split under all four
    conditions, the controls once a pair; elsewhere after the eligible conversations alone, which is
    what selection compares.

    `gold_responses` is by (task_id, persona_id); a pair that has none is not scored.
    """
    contexts: list[tuple[Pair, Condition, int | None, str | None, tuple[Message, ...]]] = []

    def after(conversation: Conversation, condition: Condition, heard: Conversation) -> None:
        pair, persona_id = conversation.pair, heard.pair.persona.persona_id
        messages = respondent_messages(heard, pair)
        contexts.append((pair, condition, conversation.sample, persona_id, messages))

    if cell.split == TEST_SPLIT:
        for pair in dict.fromkeys(c.pair for c in conversations if c.pair.key in gold_responses):
            for condition, messages in (
                (Condition.NEGATIVE_CONTROL, negative_control_messages(pair)),
                (Condition.POSITIVE_CONTROL, positive_control_messages(pair)),
            ):
                contexts.append((pair, condition, None, None, messages))
        others = other_conversations(conversations, cell, seed)
        for conversation, other in zip(conversations, others, strict=True):
            if conversation.pair.key not in gold_responses:
                continue
            after(conversation, Condition.EXPERIMENTAL, conversation)
            if other is not None:
                after(conversation, Condition.RANDOM, other)
    else:
        for conversation in conversations:
            if conversation.pair.key in gold_responses and ineligibility(conversation) is None:
                after(conversation, Condition.EXPERIMENTAL, conversation)
    scores = scorer.score(
        [ScoreRequest(messages, gold_responses[pair.key]) for pair, _, _, _, messages in contexts],
        "scoring gold responses",
    )
    return [
        GoldLogProb(pair, condition, sample, heard, score.total, len(score.log_probs))
        for (pair, condition, sample, heard, _), score in zip(contexts, scores, strict=True)
    ]


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
        key = ("random", *pair.key, conversation.sample)
        draw = random.Random(derive_seed(seed, cell.iteration, cell.split, *key))
        others.append(draw.choice(candidates) if candidates else None)
    return others
