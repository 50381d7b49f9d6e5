"""Simulated conversations between the policy and the Roleplayer (Algorithm 1, line 3).

The conversations of a cell advance together, a turn at a time, so that every call to a model is one
large batch; those of a very large cell in parts (see `in_parts`).
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.keys import derive_seed
from stargate_assets.method.language_model import (
    TOGETHER,
    ChatRequest,
    Completion,
    LanguageModel,
    Sampling,
    in_parts,
)
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.roleplay import Reply

Kinds = Literal["never", "general", "all"]
"""The kinds of task that also get a conversation without a question, which selection may keep."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Iteration is the policy's index: the cell (i, s) is what policy i does on split s."""

    iteration: int
    split: str

    @property
    def key(self) -> str:
        """The cell as messages and partitions name it, such as 1|train_b."""
        return f"{self.iteration}|{self.split}"


def turn_count(seed: int, cell: Cell, pair: Pair, max_turns: int) -> int:
    """How many questions the questioner asks of a pair: drawn by key, uniform in 1..max_turns, the
    same for all conversations of the pair (section 3).
    """
    key = (seed, "turns", cell.iteration, cell.split, *pair.key)
    return random.Random(derive_seed(*key)).randint(1, max_turns)


def conversation_seed(
    seed: int, purpose: str, cell: Cell, conversation: Conversation, *more: int
) -> int:
    """The seed of a model call that is made for a conversation."""
    key = (*conversation.key, *more)
    return derive_seed(seed, purpose, cell.iteration, cell.split, *key)


def draw_roleplayer(
    seed: int, cell: Cell, pair: Pair, sample: int, roleplayers: Sequence[str]
) -> str:
    """Draw the roleplayer of a conversation by key, uniformly from the experiment's."""
    key = (seed, "roleplayer", cell.iteration, cell.split, *pair.key, sample)
    return random.Random(derive_seed(*key)).choice(sorted(roleplayers))


def conversations_without_questions(
    pairs: Sequence[Pair], sample: int, kinds: Kinds
) -> list[Conversation]:
    """Make a conversation without a question for each pair whose task is of these kinds."""
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
    prompts: Prompts,
) -> list[Conversation]:
    """Simulate `samples` conversations for each pair, ordered by pair and sample. `replies` has
    each roleplayer's way to reply by its name; a conversation has one roleplayer. A conversation
    ends at a question or a reply that is refused.
    """
    conversations: list[Conversation] = []
    for part in in_parts(pairs, TOGETHER // samples):
        begun = [
            Conversation(pair, sample, draw_roleplayer(seed, cell, pair, sample, list(replies)))
            for pair in part
            for sample in range(samples)
        ]
        counts = {pair.key: turn_count(seed, cell, pair, max_turns) for pair in part}
        turns = [counts[c.pair.key] for c in begun]
        advance(questioner, replies, begun, turns, cell, seed, sampling, prompts)
        conversations += begun
    return conversations


def advance(
    questioner: LanguageModel,
    replies: Mapping[str, Reply],
    conversations: list[Conversation],
    turns: Sequence[int],
    cell: Cell,
    seed: int,
    sampling: Sampling,
    prompts: Prompts,
) -> None:
    """Let each conversation have its number of turns."""
    most = max(turns, default=0)
    for turn in range(most):
        active = [
            i for i, count in enumerate(turns) if turn < count and not conversations[i].refused
        ]
        if not active:
            break
        requests = [
            ChatRequest(
                prompts.questioner_messages(conversations[i]),
                sampling,
                conversation_seed(seed, "question", cell, conversations[i], turn),
            )
            for i in active
        ]
        questions = questioner.chat(requests, f"asking, turn {turn + 1} of {most}")
        for i, question in zip(active, questions, strict=True):
            conversations[i] = _with_question(conversations[i], question)
        for roleplayer, reply in replies.items():
            waiting = [
                i
                for i in active
                if conversations[i].roleplayer == roleplayer and not conversations[i].refused
            ]
            asked = [conversations[i] for i in waiting]
            seeds = [conversation_seed(seed, "answer", cell, c, turn) for c in asked]
            for i, answer in zip(waiting, reply(asked, seeds), strict=True):
                conversations[i] = conversations[i].with_answer(answer)


def _with_question(conversation: Conversation, question: Completion) -> Conversation:
    """A conversation with one more question; it ends there if the question was refused."""
    longer = conversation.with_question(question.text, question.finish_reason == "length")
    return longer.with_answer(None) if question.finish_reason == "refused" else longer
