"""Simulated conversations between the policy and the Roleplayer (Algorithm 1, line 3).

All conversations of a cell advance together, a turn at a time, so that every call to a model is one
large batch.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.keys import derive_seed
from stargate_assets.method.language_model import ChatRequest, LanguageModel, Sampling
from stargate_assets.method.prompts import questioner_messages
from stargate_assets.method.roleplay import Reply

Kinds = Literal["never", "general", "all"]
"""Of tasks: those for which not to ask is a candidate too."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Iteration is the policy's index: the cell (i, s) is what policy i does on split s."""

    iteration: int
    split: str

    @property
    def key(self) -> str:
        return f"{self.iteration}|{self.split}"


def turn_count(seed: int, cell: Cell, pair: Pair, max_turns: int) -> int:
    """How many questions are asked of a pair: uniform in 1..max_turns, the same for all its samples
    (section 3).
    """
    key = (seed, "turns", cell.iteration, cell.split, *pair.key)
    return random.Random(derive_seed(*key)).randint(1, max_turns)


def conversation_seed(
    seed: int, purpose: str, cell: Cell, conversation: Conversation, *more: int
) -> int:
    key = (*conversation.pair.key, conversation.sample, *more)
    return derive_seed(seed, purpose, cell.iteration, cell.split, *key)


def drawn_roleplayer(
    seed: int, cell: Cell, pair: Pair, sample: int, roleplayers: Sequence[str]
) -> str:
    """Who answers in a conversation: uniform over the experiment's roleplayers, drawn by key."""
    key = (seed, "roleplayer", cell.iteration, cell.split, *pair.key, sample)
    return random.Random(derive_seed(*key)).choice(sorted(roleplayers))


def unasked_conversations(pairs: Sequence[Pair], sample: int, kinds: Kinds) -> list[Conversation]:
    """A conversation without a question, for each pair whose task is of these kinds."""
    return [
        Conversation(pair, sample)
        for pair in pairs
        if kinds == "all" or (kinds == "general" and pair.task.kind == "general")
    ]


def simulate(
    questioner: LanguageModel,
    replies: Mapping[str, Reply],
    pairs: Sequence[Pair],
    cell: Cell,
    *,
    seed: int,
    samples: int,
    max_turns: int,
    sampling: Sampling,
) -> list[Conversation]:
    """`samples` conversations for each pair, ordered by pair and sample. `replies` are those of the
    roleplayers by name; each conversation has one of them. One whose question or reply is refused
    ends there.
    """
    conversations = [
        Conversation(pair, sample, drawn_roleplayer(seed, cell, pair, sample, list(replies)))
        for pair in pairs
        for sample in range(samples)
    ]
    turns = [turn_count(seed, cell, c.pair, max_turns) for c in conversations]
    for turn in range(max_turns):
        active = [
            i for i, count in enumerate(turns) if turn < count and not conversations[i].refused
        ]
        if not active:
            break
        questions = questioner.chat(
            [
                ChatRequest(
                    questioner_messages(conversations[i]),
                    sampling,
                    conversation_seed(seed, "question", cell, conversations[i], turn),
                )
                for i in active
            ],
            f"asking, turn {turn + 1} of {max_turns}",
        )
        for i, question in zip(active, questions, strict=True):
            asked = conversations[i].asked(question.text, question.finish_reason == "length")
            refused = question.finish_reason == "refused"
            conversations[i] = asked.answered(None) if refused else asked
        for roleplayer, reply in replies.items():
            answering = [
                i
                for i in active
                if conversations[i].roleplayer == roleplayer and not conversations[i].refused
            ]
            heard = [conversations[i] for i in answering]
            seeds = [conversation_seed(seed, "answer", cell, c, turn) for c in heard]
            for i, answer in zip(answering, reply(heard, seeds), strict=True):
                conversations[i] = conversations[i].answered(answer)
    return conversations
