"""The four conditions under which the base model scores a gold response (section 5)."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stargate_assets.language_model import LanguageModel, Message, ScoreRequest
from stargate_assets.method.conversation import Conversation, Pair
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
    """Score the gold response of each conversation's pair: the controls once a pair, the
    conversation's own condition, and Q-random on the held-out split, where it is reported;
    selection has no use for it.

    `gold_responses` is by (task_id, persona_id).
    """
    pairs = list(dict.fromkeys(c.pair for c in conversations))
    contexts: list[tuple[Pair, Condition, int | None, str | None, tuple[Message, ...]]] = []
    for pair in pairs:
        for condition, messages in (
            (Condition.NEGATIVE_CONTROL, negative_control_messages(pair)),
            (Condition.POSITIVE_CONTROL, positive_control_messages(pair)),
        ):
            contexts.append((pair, condition, None, None, messages))
    others = (
        other_conversations(conversations, cell, seed)
        if cell.split == TEST_SPLIT
        else [None] * len(conversations)
    )
    for conversation, other in zip(conversations, others, strict=True):
        for condition, heard in ((Condition.EXPERIMENTAL, conversation), (Condition.RANDOM, other)):
            if heard is not None:
                pair, persona_id = conversation.pair, heard.pair.persona.persona_id
                messages = respondent_messages(heard, pair)
                contexts.append((pair, condition, conversation.sample, persona_id, messages))
    scores = scorer.score(
        [
            ScoreRequest(messages, gold_responses[pair.task.task_id, pair.persona.persona_id])
            for pair, _, _, _, messages in contexts
        ],
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
        key = ("random", pair.task.task_id, pair.persona.persona_id, conversation.sample)
        draw = random.Random(derive_seed(seed, cell.iteration, cell.split, *key))
        others.append(draw.choice(candidates) if candidates else None)
    return others
