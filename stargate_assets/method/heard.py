"""What a person has stated before an answer, and whether the answer uses each statement.

By words: whether the answer has a word or number that was known from that statement alone. By
log-probability: how much less probable the base model finds the answer if the person has not said
it. The first is plain and misses a paraphrase; the second misses nothing that the base model
understands, and grows with the length of an answer.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from stargate_assets.method.arms import Arm, Response, answered_conversations
from stargate_assets.method.conversation import (
    Conversation,
    Pair,
    Persona,
    is_question,
    others_responses,
)
from stargate_assets.method.facts import others_terms, respondent_texts, stated_terms, terms
from stargate_assets.method.keys import normalise
from stargate_assets.method.language_model import LanguageModel, ScoreRequest
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.roleplay import NOTHING_TO_SAY
from stargate_assets.method.text import parts, words

_SAYS_NOTHING = re.compile(
    r"(?i)\W*(?:(?:sorry|well|hm+|um+)\W+)?(?:"
    r"i(?: am|['’]m) not (?:really )?sure(?: (?:what|how) to (?:say|answer|reply)(?: to)?"
    r"(?: that| this)?)?"
    r"|i (?:do not|don['’]t) know(?: (?:what|how) to (?:say|answer)(?: to)?(?: that)?)?"
    r"|i(?: would|['’]d) rather not (?:say|answer)(?: that)?"
    r")\W*"
)
"""A sentence that declines to answer, and says nothing else."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence of a reply: `turn` and `position`, its place in the reply, count from 0."""

    turn: int
    position: int
    text: str


@dataclass(frozen=True, slots=True)
class Heard:
    """A statement that was made before a response, and what the response makes of it.

    `terms` are the stems that were known from this statement alone, and `used` says whether the
    response has one of them; `used_by_chance` whether the response to another person with the same
    task has. They are None where there is nothing to look for, or no other response. `log_prob` is
    log p(response | conversation) under the base model, and `log_prob_without` that after the same
    conversation without the statement: in nats, over `tokens` tokens. The three are None where
    either is too long for the model.
    """

    statement: Statement
    terms: frozenset[str]
    used: bool | None
    used_by_chance: bool | None
    log_prob: float | None
    log_prob_without: float | None
    tokens: int | None

    @property
    def drop(self) -> float | None:
        """How much less probable the response becomes without the statement, in nats."""
        if self.log_prob is None or self.log_prob_without is None:
            return None
        return self.log_prob - self.log_prob_without


class Untraced(StrEnum):
    """Why nothing was stated before a response that it could use."""

    REFUSED = "refused"
    EMPTY = "empty"
    NOBODY_ASKED = "nobody_asked"
    NOTHING_STATED = "nothing_stated"


def statements(conversation: Conversation) -> list[Statement]:
    """What the person has stated, in order: the sentences of the replies, and the persona's own
    statements in them, that neither ask nor decline to answer. What is said again counts once,
    where it was said first.
    """
    found: dict[str, Statement] = {}
    for turn, reply in enumerate(conversation.answers):
        for position, sentence in enumerate(parts(reply, conversation.pair.persona.stated)):
            if not words(sentence) or is_question(sentence) or says_nothing(sentence):
                continue
            found.setdefault(normalise(sentence), Statement(turn, position, sentence))
    return list(found.values())


def says_nothing(sentence: str) -> bool:
    """Whether a sentence declines to answer, and says nothing else."""
    return _SAYS_NOTHING.fullmatch(sentence) is not None


def without(conversation: Conversation, statement: Statement) -> Conversation:
    """The conversation as if the person had not said that, in any turn. Where nothing else was
    replied, the reply is what a Roleplayer says that has nothing to say: a turn that a respondent
    may meet, as an empty one is not, and the question stays.
    """
    said, stated = normalise(statement.text), conversation.pair.persona.stated
    answers = tuple(_cut(reply, said, stated) for reply in conversation.answers)
    return replace(conversation, answers=answers)


def _cut(reply: str, said: str, stated: Sequence[str]) -> str:
    """A reply without its parts that are the same text, normalised."""
    found = parts(reply, stated)
    if said not in map(normalise, found):
        return reply
    kept, rest = "", reply
    for sentence in found:
        between, _, rest = rest.partition(sentence)
        if normalise(sentence) == said:
            kept, rest = kept + between, rest.lstrip()
        else:
            kept += between + sentence
    return (kept + rest).strip() or NOTHING_TO_SAY


def own_terms(
    conversation: Conversation, statement: Statement, people: Sequence[Persona]
) -> frozenset[str]:
    """The stems that are known from this statement alone: they are neither in the task, the name,
    the questions and what else was replied, nor in the persona of any other of the `people`, as
    words are that everybody uses.
    """
    known = frozenset[str]().union(*map(terms, respondent_texts(without(conversation, statement))))
    return terms(statement.text) - known - others_terms(conversation.pair.persona, people)


def heard_conversations(
    responses: Sequence[Response], conversations: Mapping[int, Sequence[Conversation]]
) -> list[tuple[Response, Conversation]]:
    """The responses that say something after a person has stated something, each with its
    conversation. `conversations` are by the asker's index.
    """
    return [
        (response, conversation)
        for response, conversation in answered_conversations(responses, conversations)
        if untraced(response, stated=bool(statements(conversation))) is None
    ]


def untraced(response: Response, *, stated: bool) -> Untraced | None:
    """The first reason why a response is not traced, given whether anything was stated before it;
    None if it is.
    """
    if response.refused:
        return Untraced.REFUSED
    if not response.text.strip():
        return Untraced.EMPTY
    if response.players.asker is None:
        return Untraced.NOBODY_ASKED
    return None if stated else Untraced.NOTHING_STATED


def trace_statements(
    scorer: LanguageModel,
    responses: Sequence[Response],
    conversations: Mapping[int, Sequence[Conversation]],
    people: Sequence[Persona],
    split: str,
    seed: int,
    prompts: Prompts,
) -> list[tuple[Response, Heard]]:
    """What each response makes of each statement that was made before it, in their order.
    `conversations` are by the asker's index, `people` the personas of the split. The other person's
    response is of the same arm, drawn by key. One call of the scorer, which reads every response in
    the respondent's context, whatever prompt it was written under.
    """
    heard = heard_conversations(responses, conversations)
    others: dict[tuple[Arm, Pair], str] = {}
    for arm in dict.fromkeys(r.arm for r, _ in heard):
        texts = {r.pair.key: r.text for r, _ in heard if r.arm == arm}
        pairs = [r.pair for r, _ in heard if r.arm == arm]
        drawn = others_responses(pairs, texts, "heard", split, seed)
        others |= {(arm, pair): text for pair, (_, text) in drawn.items()}
    requests: list[ScoreRequest] = []
    for response, conversation in heard:
        read = [conversation, *(without(conversation, s) for s in statements(conversation))]
        requests += [ScoreRequest(prompts.respondent_messages(c), response.text) for c in read]
    scores = iter(scorer.score(requests, "scoring what was heard"))
    traced: list[tuple[Response, Heard]] = []
    for response, conversation in heard:
        whole, by_chance = next(scores), others.get((response.arm, response.pair))
        for statement in statements(conversation):
            own, less = own_terms(conversation, statement, people), next(scores)
            is_scored = not (whole.failure or less.failure)
            found = Heard(
                statement,
                own,
                _states(response.text, own),
                None if by_chance is None else _states(by_chance, own),
                whole.total if is_scored else None,
                less.total if is_scored else None,
                len(whole.log_probs) if is_scored else None,
            )
            traced.append((response, found))
    return traced


def _states(text: str, own: frozenset[str]) -> bool | None:
    """Whether a text has one of these stems; None if there are none."""
    return bool(stated_terms(text) & own) if own else None
