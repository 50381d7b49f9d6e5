"""From a selected conversation to training examples: tokens, and labels for the assistant's turns
(section 3).

One conversation becomes two kinds of example, because the policy speaks under two prompts:
- the question turns, after the elicitation instructions: one example with a label on every
  question, if the chat template renders a longer dialogue as an extension of a shorter one;
  otherwise one example for each question;
- the answer turn, in the respondent's context, which never saw those instructions. Labels cover
  each assistant turn and the token that ends it, and nothing else, unless the authors' faulty
  masking is asked for (`question_and_reply`). Tokens are those of generation:
  a context is tokenised as the engine would, and a turn is appended to it, so what is trained is
  what is sampled. Where a chat template writes more than what was said, such as an empty thought or
  the name of a channel, the turn is what the template writes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from stargate_assets.method.conversation import Conversation
from stargate_assets.method.language_model import Message
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.regularization import RegularizationResponse
from stargate_assets.method.tokens import shared_length

IGNORED = -100
Kind = Literal["question", "question_and_reply", "answer"]
Labels = Literal["assistant", "assistant_and_last_reply"]
"""Which turns carry loss; the second is a fault of the authors' code."""


class ChatTokenizer(Protocol):
    """What tokenising a dialogue takes; `engines.chat_tokenizer` implements it."""

    def context_ids(self, messages: Sequence[Message]) -> tuple[int, ...]: ...

    def turn_ids(self, text: str) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A context and what the assistant said in it. Of a `question` dialogue every assistant
    message is learnt, of an `answer` dialogue the last alone: the questions in it were asked
    under another prompt. `question_and_reply` ends with the user's last reply and learns that too,
    as the template renders it, up to the words that open the next turn.
    """

    kind: Kind
    messages: tuple[Message, ...]
    weight: float = 1.0
    sampled: tuple[float, ...] | None = None
    base: tuple[float, ...] | None = None
    """Log-probabilities of what is learnt, a token each in order, in nats: under the policy that
    said it, and under the base model. None where the loss needs none.
    """


@dataclass(frozen=True, slots=True)
class Example:
    """`labels[i]` is `tokens[i]` where it is learnt and `IGNORED` where it is context. `sampled`
    and `base` are as long as `tokens`, and 0 where it is context.
    """

    kind: Kind
    tokens: tuple[int, ...]
    labels: tuple[int, ...]
    weight: float = 1.0
    sampled: tuple[float, ...] | None = None
    base: tuple[float, ...] | None = None


def training_dialogues(
    conversations: Iterable[Conversation],
    responses: Iterable[RegularizationResponse],
    prompts: Prompts,
    labels: Labels = "assistant",
) -> list[Dialogue]:
    """The dialogues that are learnt from conversations: of each its question turns, and its answer
    turn unless that was cut off, is empty or is not to be learnt. Where nothing was asked, the
    policy learns to answer although it was told to ask.
    """
    answers = {r.conversation: r.text for r in responses if r.text and not r.truncated}
    dialogues: list[Dialogue] = []
    for c in conversations:
        asking, answering = prompts.questioner_messages(c), prompts.respondent_messages
        if c.questions and labels == "assistant":
            # The last reply is followed by no question.
            dialogues.append(Dialogue("question", asking[:-1]))
        elif c.questions:
            dialogues.append(Dialogue("question_and_reply", asking))
        if c in answers:
            contexts = [answering(c)] if c.questions else [answering(c), asking]
            answer = Message("assistant", answers[c])
            dialogues += [Dialogue("answer", (*context, answer)) for context in contexts]
    return dialogues


def tokenise(dialogue: Dialogue, tokenizer: ChatTokenizer) -> list[Example]:
    """The examples of a dialogue: one, unless its template rewrites earlier turns. Raises
    ValueError where its log-probabilities are not of its tokens.
    """
    examples = _examples(dialogue, tokenizer)
    of_each = {
        name: _align(examples, getattr(dialogue, name))
        for name in ("sampled", "base")
        if getattr(dialogue, name) is not None
    }
    return [
        replace(e, weight=dialogue.weight, **{name: of_each[name][i] for name in of_each})
        for i, e in enumerate(examples)
    ]


def _align(examples: Sequence[Example], log_probs: Sequence[float]) -> list[tuple[float, ...]]:
    """The log-probabilities of what examples learn, at their places."""
    learnt = sum(label != IGNORED for e in examples for label in e.labels)
    if learnt != len(log_probs):
        raise ValueError(f"{len(log_probs)} log-probabilities were scored of {learnt} tokens")
    left = iter(log_probs)
    return [tuple(0.0 if label == IGNORED else next(left) for label in e.labels) for e in examples]


def _examples(dialogue: Dialogue, tokenizer: ChatTokenizer) -> list[Example]:
    examples: list[Example] = []
    for position, message in enumerate(dialogue.messages):
        if message.role != "assistant":
            continue
        if dialogue.kind == "answer" and position < len(dialogue.messages) - 1:
            continue
        prompt = tokenizer.context_ids(dialogue.messages[:position])
        turn = tokenizer.turn_ids(message.content)
        labels = (IGNORED,) * len(prompt)
        if examples and shared_length(examples[-1].tokens, prompt) == len(examples[-1].tokens):
            earlier = examples.pop()
            labels = earlier.labels + labels[len(earlier.labels) :]
        examples.append(Example(dialogue.kind, prompt + turn, labels + turn))
    if dialogue.kind == "question_and_reply":
        asked, whole = examples.pop(), tokenizer.context_ids(dialogue.messages)
        end = shared_length(asked.tokens, whole)
        examples.append(Example(dialogue.kind, whole, asked.labels[:end] + whole[end:]))
    return examples
