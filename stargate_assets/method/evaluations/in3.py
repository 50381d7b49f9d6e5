"""IN3 (Qian et al. 2024, "Tell Me More!"): tasks for an agent, vague or clear, and the details that
a vague one lacks.

Does the policy ask where a task is vague, and not where it is clear? And what share of the missing
details, weighted by importance, do its questions and the replies bring out? Both are found by
words, without a judge: see `own_terms` and `is_told`.
"""

import random
from collections.abc import Mapping, Sequence

from stargate_assets.method.conversation import Conversation, Pair, Persona, Task, is_question
from stargate_assets.method.evaluations.kind import (
    NAME,
    Asked,
    Detail,
    Figure,
    Item,
    ItemError,
    Kind,
    Outcome,
    as_sentence,
    item_id,
    one,
    read_list,
    read_text,
    share_of,
    value_of,
)
from stargate_assets.method.facts import terms
from stargate_assets.method.keys import derive_seed
from stargate_assets.method.language_model import ChatRequest
from stargate_assets.method.simulation import conversation_seed
from stargate_assets.method.text import words

MEASURES = {
    "vague": "1 if the publishers call the task vague, else 0",
    "asks": "1 if the policy, told to ask, first asks a question, else 0",
    "asks_alone": "1 if the policy, given the task alone, asks a question, else 0",
    "asked": "Share of the missing details, by importance, that its questions name",
    "told": "Share of the missing details, by importance, that replies to its questions tell",
}


def read_item(record: Mapping[str, object]) -> Item:
    """A task of IN3, with a user who has one option of each detail in mind, drawn by key."""
    task, vague = read_text(record, "task"), record.get("vague")
    if not isinstance(vague, bool):
        raise ItemError("vague is neither true nor false")
    task_id = item_id(task)
    details = tuple(
        _read_detail(detail, task_id, number)
        for number, detail in enumerate(read_list(record, "missing_details"))
    )
    if vague != bool(details):
        raise ItemError("vague and missing_details do not agree")
    known = " ".join(as_sentence(f"{d.description}: {d.option}") for d in details)
    pair = Pair(Task(task_id, task), Persona(task_id, NAME, known))
    category = record.get("category")
    return Item(pair, category if isinstance(category, str) else task_id, not vague, details)


def _read_detail(stated: object, task_id: str, number: int) -> Detail:
    if not isinstance(stated, Mapping):
        raise ItemError(f"missing_details, {number + 1}: it is no object")
    record: Mapping[str, object] = stated  # pyright: ignore[reportUnknownVariableType]
    importance = str(record.get("importance"))
    options = tuple(str(option) for option in read_list(record, "options"))
    if importance not in ("1", "2", "3") or not options:
        raise ItemError(
            f"missing_details, {number + 1}: it needs an importance of 1, 2 or 3, and options"
        )
    option = random.Random(derive_seed("in3", "option", task_id, number)).choice(options)
    return Detail(read_text(record, "description"), int(importance), options, option)


def measure(
    items: Sequence[Item], conversations: Sequence[Conversation], asked: Asked
) -> list[Outcome]:
    """What each conversation shows, and what the policy says to the task alone."""
    alone = asked.policy.chat(
        [
            ChatRequest(
                asked.prompts.negative_control_messages(c.pair),
                asked.sampling,
                conversation_seed(asked.seed, "alone", asked.cell, c),
            )
            for c in conversations
        ],
        "answering tasks",
    )
    outcomes: list[Outcome] = []
    for item, conversation, said in zip(items, conversations, alone, strict=True):
        values = {"vague": float(not item.is_clear)}
        if said.finish_reason != "refused":
            values["asks_alone"] = float(is_question(said.text))
        if not conversation.refused:
            values["asks"] = float(is_question(conversation.questions[0]))
            if item.details:
                values |= _brought_out(item, conversation)
        outcomes.append(Outcome(item, conversation, values, said.text))
    return outcomes


def _brought_out(item: Item, conversation: Conversation) -> dict[str, float]:
    """The shares `asked` and `told`. What the user tells without a question is nobody's merit."""
    turns = zip(conversation.questions, conversation.answers, strict=True)
    questioned = [(question, reply) for question, reply in turns if is_question(question)]
    weight = sum(detail.importance for detail in item.details)
    asked = told = 0
    for number, detail in enumerate(item.details):
        own = own_terms(item, number)
        asked += detail.importance * any(own & terms(question) for question, _ in questioned)
        told += detail.importance * any(is_told(detail, reply) for _, reply in questioned)
    return {"asked": asked / weight, "told": told / weight}


def own_terms(item: Item, number: int) -> frozenset[str]:
    """The stems by which a question names a detail: those of its description and its options that
    neither the task has nor another detail of the task, or else those of its description.
    """
    known = terms(item.pair.task.text).union(
        *(_stems(other) for place, other in enumerate(item.details) if place != number)
    )
    detail = item.details[number]
    return (_stems(detail) - known) or terms(detail.description)


def _stems(detail: Detail) -> frozenset[str]:
    return terms(detail.description).union(*map(terms, detail.options))


def is_told(detail: Detail, reply: str) -> bool:
    """Whether a reply has every word of the option that the user has in mind."""
    return set(words(detail.option)) <= set(words(reply))


def _asking(asks: str, condition: str) -> tuple[Figure, Figure]:
    both, of_both = ("vague", asks), share_of("vague", asks)
    return (
        Figure(f"recall, {condition}: asks where vague", both, of_both, value_of("vague")),
        Figure(f"precision, {condition}: vague where it asks", both, of_both, value_of(asks)),
    )


KIND = Kind(
    "tasks, vague or clear, and the details that a vague one lacks",
    read_item,
    measure,
    MEASURES,
    (
        *_asking("asks", "told to ask"),
        *_asking("asks_alone", "task alone"),
        Figure("precision of chance: vague tasks", ("vague",), value_of("vague"), one),
        Figure("missing details named by questions", ("asked",), value_of("asked"), one),
        Figure("missing details told in reply", ("told",), value_of("told"), one),
    ),
)
