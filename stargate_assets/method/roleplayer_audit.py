"""What is wrong with the replies of a Roleplayer, by words, by numbers, and by the base model.

A gain rests on a simulated person, so it is worth what the replies are worth. Each rule looks for
what can be seen in a text; what a reply means is not understood (docs/roleplayer.md). The lists of
words are English; in other languages numbers, copies and log-probabilities decide.

Not in the paper.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stargate_assets.method.claims import (
    MOSTLY,
    best_match,
    clauses,
    content_words,
    contradicted,
    counted_otherwise,
    is_known,
    numbers,
)
from stargate_assets.method.conversation import Conversation, Persona, is_question
from stargate_assets.method.eligibility import (
    LIST_ITEM,
    MOST_OF_PERSONA,
    ROLE_LABEL,
    copies_persona,
)
from stargate_assets.method.heard import says_nothing
from stargate_assets.method.language_model import LanguageModel, Message, Score, ScoreRequest
from stargate_assets.method.roleplay import MOST_STATEMENTS
from stargate_assets.method.text import parts, words

LIFT = 0.7
"""Nats a token by which a persona makes a reply more probable that says it in other words."""


class Fault(StrEnum):
    """What may be wrong with a reply; one reply may have several."""

    UNSUPPORTED = "unsupported"
    CONTRADICTS_PERSONA = "contradicts_persona"
    CONTRADICTS_ITSELF = "contradicts_itself"
    UNASKED = "unasked"
    CARRIES_OUT_TASK = "carries_out_task"
    COPIES_PERSONA = "copies_persona"
    SPEAKS_AS_ASSISTANT = "speaks_as_assistant"


@dataclass(frozen=True, slots=True)
class ReplyScores:
    """log p(reply) under the base model, in nats over `tokens` tokens: after persona and question,
    and after the question alone.
    """

    with_persona: float
    without_persona: float
    tokens: int

    @property
    def lift(self) -> float:
        """How much more probable the persona makes the reply, in nats a token."""
        return (self.with_persona - self.without_persona) / self.tokens


@dataclass(frozen=True, slots=True)
class AuditedReply:
    """A reply, by its turn from 0, and what was found. `statement` is the persona's that it rests
    on or contradicts, `earlier` what it had said before and now contradicts, each None if there is
    none; `unsupported` are words and numbers of it that neither persona, task nor question has.
    `scores` are None of a reply that says what the persona says, and of one that is too long.
    """

    conversation: Conversation
    turn: int
    faults: tuple[Fault, ...]
    statement: str | None
    earlier: str | None
    unsupported: tuple[str, ...]
    verbatim: bool
    scores: ReplyScores | None

    @property
    def question(self) -> str:
        return self.conversation.questions[self.turn]

    @property
    def reply(self) -> str:
        return self.conversation.answers[self.turn]


def audit_replies(
    scorer: LanguageModel, conversations: Sequence[Conversation]
) -> list[AuditedReply]:
    """Audit every reply, in order; a turn that a content filter stopped has none. At most one call
    of the scorer, about replies that are not in the persona's own words.
    """
    replies = [(c, turn) for c in conversations for turn in replied_turns(c)]
    to_score = [number for number, reply in enumerate(replies) if not _is_verbatim(*reply)]
    requests = [request for number in to_score for request in _score_requests(*replies[number])]
    scores = scorer.score(requests, "auditing replies") if requests else []
    scores_of = {
        number: _reply_scores(with_persona, without)
        for number, with_persona, without in zip(to_score, scores[::2], scores[1::2], strict=True)
    }
    return [audit_reply(*reply, scores_of.get(number)) for number, reply in enumerate(replies)]


def replied_turns(conversation: Conversation) -> range:
    """The turns that have a reply."""
    return range(len(conversation.answers) - conversation.refused)


def audit_reply(conversation: Conversation, turn: int, scores: ReplyScores | None) -> AuditedReply:
    """Audit the reply of a turn; without scores, by words and numbers alone."""
    persona, reply = conversation.pair.persona.text, conversation.answers[turn]
    statements = conversation.pair.persona.statements
    claims = _claims(conversation, turn)
    told = [s for s in claims if not _stands_in(s, persona)]
    of_persona, of_earlier = clauses(statements), clauses(_said_before(conversation, turn))
    against = {s: contradicted(s, of_persona) or counted_otherwise(s, of_persona) for s in told}
    earlier = [found for s in told if (found := contradicted(s, of_earlier))]
    known = _known(conversation, turn)
    unknown = {s: _unknown_words(s, known) for s in told if against[s] is None}
    is_close = scores is not None and scores.lift >= LIFT
    rests_on = [best_match(s, of_persona) for s in claims]
    faults = {
        Fault.UNSUPPORTED: any(
            _is_unsupported(s, of_s, conversation, turn, is_close) for s, of_s in unknown.items()
        ),
        Fault.CONTRADICTS_PERSONA: any(against.values()),
        Fault.CONTRADICTS_ITSELF: bool(earlier),
        Fault.UNASKED: _tells_unasked(conversation.questions[turn], claims),
        Fault.CARRIES_OUT_TASK: bool(LIST_ITEM.search(reply) or _ADVICE.search(reply)),
        Fault.COPIES_PERSONA: _copies(reply, conversation.pair.persona),
        Fault.SPEAKS_AS_ASSISTANT: bool(ROLE_LABEL.search(reply) or _ASSISTANT.search(reply)),
    }
    return AuditedReply(
        conversation,
        turn,
        tuple(fault for fault, found in faults.items() if found),
        next((s for s in (*against.values(), *rests_on) if s is not None), None),
        next(iter(earlier), None),
        tuple(dict.fromkeys(word for of_s in unknown.values() for word in of_s)),
        _is_verbatim(conversation, turn),
        scores,
    )


_ADVICE = re.compile(
    r"(?i)\b(?:you (?:should|could|might want to|may want to|can (?:try|start|use)|need to)"
    r"|i(?: would|['’]d)? (?:recommend|suggest|advise)|my (?:advice|suggestion)s? (?:is|are)"
    r"|here(?: is|['’]s| are) (?:a|an|the|some|my|your|what|how|one|two|three|\w+ (?:ideas|tips))\b"
    r"|step (?:1|one)\b|first(?:ly)?, (?:you|try|make|take|start)\b|(?:make|be) sure (?:to|you)\b"
    r"|(?:try|start|begin|consider) (?:by )?\w+ing\b)"
)
"""What advises somebody."""
_ASSISTANT = re.compile(
    r"(?i)\b(?:as an? (?:ai|artificial|assistant|language model|chatbot|virtual)\b"
    r"|language model|virtual assistant|i(?: am|['’]m) (?:an? )?(?:ai|assistant|chatbot|bot)\b"
    r"|(?:how|what) (?:can|may) i (?:help|assist|do for) (?:you)?"
    r"|(?:happy|glad|here|able|love) to (?:help|assist)\b"
    r"|(?:help|assist) you (?:with|today|further)"
    r"|feel free to|let me know (?:if|how|what|more)|(?:great|good|excellent) question"
    r"|thank(?:s| you) for (?:sharing|telling me|asking|your question)"
    r"|(?:is there )?anything else (?:i can|you(?:['’]d| would)? (?:like|need))"
    r"|(?:please|could you|can you) (?:tell|provide|share)(?: me| us)?(?: with)?"
    r" (?:more|some|your))"
)
"""What assistants say and people do not say to them."""


def _claims(conversation: Conversation, turn: int) -> list[str]:
    """The parts of a reply that tell of somebody: neither questions nor refusals to answer, and
    nothing that advises or offers help.
    """
    found = parts(conversation.answers[turn], conversation.pair.persona.stated)
    said = [s for s in found if words(s) and not is_question(s) and not says_nothing(s)]
    return [s for s in said if not (_ADVICE.search(s) or _ASSISTANT.search(s))]


def _stands_in(sentence: str, text: str) -> bool:
    """Whether a text says this in the same words."""
    return f" {' '.join(words(sentence))} " in f" {' '.join(words(text))} "


def _copies(reply: str, persona: Persona) -> bool:
    """Whether a reply says most of what the persona says."""
    statements = persona.statements
    said = sum(_stands_in(statement, reply) for statement in statements)
    most = said > MOST_STATEMENTS and said > MOST_OF_PERSONA * len(statements)
    return most or copies_persona(reply, persona.text)


def _is_verbatim(conversation: Conversation, turn: int) -> bool:
    """Whether a reply says nothing but what the persona says in the same words."""
    persona = conversation.pair.persona.text
    return all(_stands_in(claim, persona) for claim in _claims(conversation, turn))


def _said_before(conversation: Conversation, turn: int) -> list[str]:
    return [claim for earlier in range(turn) for claim in _claims(conversation, earlier)]


def _score_requests(conversation: Conversation, turn: int) -> Iterable[ScoreRequest]:
    """The reply after persona and question, and after the question alone."""
    question, reply = conversation.questions[turn], conversation.answers[turn]
    for prompt in (f"{conversation.pair.persona.text}\n\n{question}", question):
        yield ScoreRequest((Message("user", prompt),), reply)


def _reply_scores(with_persona: Score, without: Score) -> ReplyScores | None:
    if with_persona.failure or without.failure:
        return None
    return ReplyScores(with_persona.total, without.total, len(without.log_probs))


def _known(conversation: Conversation, turn: int) -> tuple[frozenset[str], frozenset[str]]:
    """What a reply may rest on, words and numbers: persona, name, and what was asked."""
    text = f"{conversation.pair.persona.text}\n{_asked(conversation, turn)}"
    return content_words(text), numbers(text)


def _asked(conversation: Conversation, turn: int) -> str:
    """Name, task, and the questions so far."""
    pair = conversation.pair
    return "\n".join((pair.persona.name, pair.task.text, *conversation.questions[: turn + 1]))


def _unknown_words(sentence: str, known: tuple[frozenset[str], frozenset[str]]) -> list[str]:
    """The words and numbers of a sentence that are not known, sorted."""
    new = [word for word in content_words(sentence) if not is_known(word, known[0])]
    return sorted([*new, *(numbers(sentence) - known[1])])


def _is_unsupported(
    sentence: str, unknown: Sequence[str], conversation: Conversation, turn: int, is_close: bool
) -> bool:
    """Whether a sentence has a new number, or mostly new words: of those that say something and
    were not in the question. Other words for what the persona says are no fault (`is_close`).
    """
    if any(word[0].isdigit() for word in unknown):
        return True
    asked = content_words(_asked(conversation, turn))
    own = [word for word in content_words(sentence) if not is_known(word, asked)]
    return bool(unknown) and len(unknown) >= MOSTLY * len(own) and not is_close


def _tells_unasked(question: str, claims: Sequence[str]) -> bool:
    """Whether a reply tells something though nothing was asked, or more than the instructions of
    the Roleplayer allow.
    """
    return bool(claims) and (not is_question(question) or len(claims) > MOST_STATEMENTS)
