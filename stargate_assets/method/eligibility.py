"""Which conversations may be trained on, and for each of the others the reason why not."""

import re
from enum import StrEnum

from stargate_assets.method.conversation import Conversation, is_question
from stargate_assets.method.roleplay import MOST_STATEMENTS
from stargate_assets.method.text import runs, sentences, words

MOST_SENTENCES = 3
MOST_WORDS = 60
"""Of a question; a longer one answers the task instead of asking."""
COPIED_RUN = 5
"""Words in a row that count as copied: shorter runs occur in texts by unrelated people."""
MOST_OF_PERSONA = 0.6
"""The share of a persona's runs from which an answer is a copy of it."""

ROLE_LABEL = re.compile(
    r"(?im)^\W*(user|human|assistant|ai|system|questioner|roleplayer|persona|question|answer|q|a)\W{0,3}:|<\||\[INST\]|<start_of_turn>"
)
LIST_ITEM = re.compile(r"(?m)^\s*(?:[-*•]|\d+[.)])\s+\S")


class Ineligibility(StrEnum):
    REFUSED = "refused"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    ROLE_LABEL_LEAKED = "role_label_leaked"
    NOT_A_QUESTION = "not_a_question"
    ANSWERS_THE_TASK = "answers_the_task"
    PERSONA_COPIED = "persona_copied"


def ineligibility(conversation: Conversation) -> Ineligibility | None:
    """The first reason, in order of turns, why a conversation must not be trained on; None if there
    is none. A refused conversation is ineligible for that before anything else.
    """
    if conversation.refused:
        return Ineligibility.REFUSED
    before = conversation.pair.task.text
    for question, truncated, answer in zip(
        conversation.questions, conversation.truncated, conversation.answers, strict=True
    ):
        reason = _question_fault(question, truncated, conversation.pair.persona.text, before)
        if reason is None:
            reason = _answer_fault(answer, conversation.pair.persona.text)
        if reason is not None:
            return reason
        before = f"{before}\n{answer}"
    return None


def _question_fault(
    question: str, truncated: bool, persona: str, before: str
) -> Ineligibility | None:
    if truncated:  # also where a thought took all tokens, and nothing was said
        return Ineligibility.TRUNCATED
    if not words(question):
        return Ineligibility.EMPTY
    if ROLE_LABEL.search(question):
        return Ineligibility.ROLE_LABEL_LEAKED
    if not is_question(question):
        return Ineligibility.NOT_A_QUESTION
    if (
        len(sentences(question)) > MOST_SENTENCES
        or len(words(question)) > MOST_WORDS
        or LIST_ITEM.search(question)
    ):
        return Ineligibility.ANSWERS_THE_TASK
    copied = runs(question, COPIED_RUN) & runs(persona, COPIED_RUN)
    if copied and copied - runs(before, COPIED_RUN):
        return Ineligibility.PERSONA_COPIED
    return None


def _answer_fault(answer: str, persona: str) -> Ineligibility | None:
    if not words(answer):
        return Ineligibility.EMPTY
    if ROLE_LABEL.search(answer):
        return Ineligibility.ROLE_LABEL_LEAKED
    return Ineligibility.PERSONA_COPIED if copies_persona(answer, persona) else None


def copies_persona(answer: str, persona: str) -> bool:
    """Whether an answer copies most of a persona."""
    of_persona = runs(persona, COPIED_RUN)
    # Two statements may be most of a short persona, and are no copy of it.
    copied = len(of_persona & runs(answer, COPIED_RUN)) > MOST_OF_PERSONA * len(of_persona)
    return copied and len(sentences(answer)) > MOST_STATEMENTS
