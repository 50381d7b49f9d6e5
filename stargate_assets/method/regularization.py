"""What the policy learns to answer after the best conversations (Algorithm 1, line 5; section 3,
"regularization").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stargate_assets.method.conversation import Conversation, is_question
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    LanguageModel,
    Sampling,
)
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.text import first_sentences, sentences


@dataclass(frozen=True, slots=True)
class RegularizationResponse:
    """An answer that is learnt after a conversation. One that is `truncated` ran into its token
    limit: it has no end that could be learnt.
    """

    conversation: Conversation
    text: str
    truncated: bool


def answer_tasks(
    policy: LanguageModel,
    conversations: Sequence[Conversation],
    max_tokens: int,
    *,
    instructed: bool = False,
    prompts: Prompts,
) -> list[Completion]:
    """Answer the task of each conversation, greedily; if `instructed`, under the prompt that asks
    to use what was said, so that what a prompt achieves can be learnt without it (context
    distillation).
    """
    context = prompts.instructed_messages if instructed else prompts.respondent_messages
    requests = [ChatRequest(context(c), Sampling(max_tokens)) for c in conversations]
    return policy.chat(requests, "answering tasks")


def learn_own_answers(
    conversations: Sequence[Conversation],
    answers: Sequence[Completion],
    *,
    only_answers: bool,
) -> list[RegularizationResponse]:
    """What is learnt of a policy's own answers to these conversations: all of them, or with
    `only_answers` the whole sentences of those that do not ask.
    """
    learnt: list[RegularizationResponse] = []
    for conversation, answer in zip(conversations, answers, strict=True):
        truncated = answer.finish_reason == "length"
        if not only_answers:
            learnt.append(RegularizationResponse(conversation, answer.text, truncated))
        elif (text := keep_answer(answer.text, truncated=truncated)) is not None:
            learnt.append(RegularizationResponse(conversation, text, truncated=False))
    return learnt


def learn_gold_responses(
    conversations: Sequence[Conversation], gold_texts: Mapping[tuple[str, str], str]
) -> list[RegularizationResponse]:
    """The gold response of each conversation's pair: the paper's ablation, which teaches to state
    what nobody said.
    """
    return [
        RegularizationResponse(c, gold_texts[c.pair.key], truncated=False) for c in conversations
    ]


def keep_answer(text: str, *, truncated: bool) -> str | None:
    """Keep the whole sentences of an answer; None where there are none, or where they end by
    asking: a policy that learns those asks where it should answer.
    """
    whole = first_sentences(text, len(sentences(text)) - truncated, broken_off=False)
    return whole if whole and not is_question(whole) else None
