"""How the Roleplayer replies: by generation, as in the paper, or by choosing among the persona's
own statements.

A small model that generates invents a life, and a reward that rests on inventions teaches nothing.
Choosing is truthful and needs scores alone: it says the statements that the question makes more
probable than a contentless prompt does.
"""

from collections.abc import Callable, Sequence

from stargate_assets.method.conversation import Conversation, is_question
from stargate_assets.method.language_model import (
    ChatRequest,
    LanguageModel,
    Message,
    Sampling,
    ScoreRequest,
)
from stargate_assets.method.prompts import Prompts

Reply = Callable[[Sequence[Conversation], Sequence[int]], Sequence[str | None]]
"""Conversations that end with a question, and a seed for each -> the replies, None where the model
refused.
"""

CONTENTLESS = "Tell me something."
NOTHING_TO_SAY = "I am not sure what to say to that."
WAITING = "What would you like to know about me?"
MOST_STATEMENTS = 2
SENTENCE_MARKS = ".!?…。！？؟।"


def generate_replies(
    model: LanguageModel,
    sampling: Sampling,
    prompts: Prompts,
    conversations: Sequence[Conversation],
    seeds: Sequence[int],
) -> list[str | None]:
    """The Roleplayer of the paper: the model speaks as the persona."""
    requests = [
        ChatRequest(prompts.roleplayer_messages(conversation), sampling, seed)
        for conversation, seed in zip(conversations, seeds, strict=True)
    ]
    return [
        None if completion.finish_reason == "refused" else completion.text
        for completion in model.chat(requests, "answering questions")
    ]


def choose_replies(
    model: LanguageModel, conversations: Sequence[Conversation], seeds: Sequence[int]
) -> list[str | None]:
    """The Roleplayer that chooses. Of the statements not yet said, it says the `MOST_STATEMENTS`
    with the highest log p(statement | question) - log p(statement | CONTENTLESS), mean per token,
    as far as that is positive.

    It answers nothing but questions: a reply to anything else would reward babble as much as
    asking. A reply is None if a statement cannot be scored. `seeds` are not needed: nothing is
    drawn.
    """
    del seeds
    unsaid = [_unsaid(c) if is_question(c.questions[-1]) else [] for c in conversations]
    requests = {
        ScoreRequest((Message("user", prompt),), statement)
        for conversation, statements in zip(conversations, unsaid, strict=True)
        for statement in statements
        for prompt in (conversation.questions[-1], CONTENTLESS)
    }
    ordered = sorted(requests, key=lambda r: (r.messages[0].content, r.continuation))
    scores = model.score(ordered, "choosing statements")
    score_of = dict(zip(ordered, scores, strict=True))

    def relevance(question: str, statement: str) -> float | None:
        asked, unasked = (
            score_of[ScoreRequest((Message("user", prompt),), statement)]
            for prompt in (question, CONTENTLESS)
        )
        return None if asked.failure or unasked.failure else asked.mean - unasked.mean

    replies: list[str | None] = []
    for conversation, statements in zip(conversations, unsaid, strict=True):
        question = conversation.questions[-1]
        if not is_question(question):
            replies.append(WAITING)
            continue
        values = {s: relevance(question, s) for s in statements}
        if None in values.values():
            replies.append(None)
            continue
        relevant = {s: value for s, value in values.items() if value is not None and value > 0}
        best = sorted(relevant, key=lambda s: (-relevant[s], s))[:MOST_STATEMENTS]
        if conversation.pair.persona.stated:  # which need not be sentences
            best = [s if s[-1] in SENTENCE_MARKS else f"{s}." for s in best]
        replies.append(" ".join(best) or NOTHING_TO_SAY)
    return replies


def _unsaid(conversation: Conversation) -> list[str]:
    said = " ".join(conversation.answers)
    return [s for s in conversation.pair.persona.statements if s not in said]
