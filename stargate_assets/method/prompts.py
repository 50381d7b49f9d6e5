"""What each role sees of a conversation, as chat messages.

Texts stand in `prompts/`; constant text comes first, so that requests share their prefix. User text
is only ever a value of a template, never a template itself.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from stargate_assets.method.conversation import Conversation, Pair, Persona
from stargate_assets.method.language_model import Message

_TEMPLATES = Environment(
    loader=PackageLoader("stargate_assets.method", "prompts"),
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701 - the output is text for a model, not HTML
    keep_trailing_newline=False,
)
_COMMENT = re.compile(r"\{#.*?#\}\s*", re.DOTALL)


@cache
def _template(template: str) -> Template:
    return _TEMPLATES.get_template(f"{template}.j2")


def prompt_sources(templates: Iterable[str]) -> list[str]:
    """The names and texts of templates without their comments: what a version of rows that were
    made with them depends on.
    """
    return [f"{name}\n{_COMMENT.sub('', _source(name))}" for name in templates]


def _source(template: str) -> str:
    loader = _TEMPLATES.loader
    assert loader is not None
    return loader.get_source(_TEMPLATES, f"{template}.j2")[0]


def _render(template: str, /, **values: str) -> str:
    return _template(template).render(**values).strip()


def _opening(pair: Pair) -> Message:
    return Message("user", _render("opening", name=pair.persona.name, task=pair.task.text))


def questioner_messages(conversation: Conversation) -> tuple[Message, ...]:
    """The policy while asking: elicitation instructions, name and task, the dialogue so far. Each
    user message ends by inviting the next question.
    """
    messages = [Message("system", _render("questioner")), _inviting(_opening(conversation.pair))]
    for question, answer in zip(conversation.questions, conversation.answers, strict=False):
        messages += [Message("assistant", question), _inviting(Message("user", answer))]
    return tuple(messages)


def _inviting(message: Message) -> Message:
    return Message("user", _render("asking", message=message.content))


def roleplayer_messages(conversation: Conversation) -> tuple[Message, ...]:
    """The Roleplayer: persona and task, and the dialogue with the roles swapped, up to the last
    question.
    """
    pair = conversation.pair
    system = _render(
        "roleplayer", name=pair.persona.name, persona=pair.persona.text, task=pair.task.text
    )
    messages = [Message("system", system)]
    for turn, question in enumerate(conversation.questions):
        messages.append(Message("user", question))
        if turn < len(conversation.answers):
            messages.append(Message("assistant", conversation.answers[turn]))
    return tuple(messages)


def respondent_messages(
    conversation: Conversation, pair: Pair | None = None
) -> tuple[Message, ...]:
    """The policy while answering, and the scorer: no elicitation instructions; the task stands
    again at the end of the last reply, so that what follows is a response and not another question.

    With another `pair`, the dialogue is heard as if that pair's user had led it (Q-random).
    """
    pair = pair or conversation.pair
    messages = [_opening(pair)]
    last = len(conversation.questions) - 1
    for turn, (question, answer) in enumerate(
        zip(conversation.questions, conversation.answers, strict=True)
    ):
        closing = _render("closing", answer=answer, task=pair.task.text)
        heard = closing if turn == last else answer
        messages += [Message("assistant", question), Message("user", heard)]
    return tuple(messages)


def instructed_messages(conversation: Conversation) -> tuple[Message, ...]:
    """The respondent's context after an instruction to use what the user has said: what a prompt
    alone achieves.
    """
    return (Message("system", _render("instructed")), *respondent_messages(conversation))


def negative_control_messages(pair: Pair) -> tuple[Message, ...]:
    """The task alone."""
    return (_opening(pair),)


def positive_control_messages(pair: Pair) -> tuple[Message, ...]:
    """Persona and task, no dialogue."""
    persona = pair.persona
    text = _render("persona_opening", name=persona.name, persona=persona.text, task=pair.task.text)
    return (Message("user", text),)


def oracle_messages(pair: Pair) -> tuple[Message, ...]:
    """The Oracle: persona and task, no dialogue."""
    system = _render("oracle", name=pair.persona.name, persona=pair.persona.text)
    return (Message("system", system), Message("user", pair.task.text))


def persona_writer_messages(examples: Sequence[Persona]) -> tuple[Message, ...]:
    """Who writes personas: the rules, and the examples as what it has written so far."""
    request = Message("user", _render("persona_request"))
    messages = [Message("system", _render("persona_writer")), request]
    for persona in examples:
        written = _render("persona_example", name=persona.name, persona=persona.text)
        messages += [Message("assistant", written), request]
    return tuple(messages)


def judge_messages(pair: Pair, a: str, b: str, *, written: bool) -> tuple[Message, ...]:
    """The Judge: persona, task and two responses; asked for a letter, or for a comparison and a
    verdict.
    """
    persona = pair.persona
    closing = _render("judge_written" if written else "judge_choice", name=persona.name)
    values = {"name": persona.name, "persona": persona.text, "task": pair.task.text}
    return (Message("user", _render("judge", **values, a=a, b=b, closing=closing)),)


def judge_again_messages(
    asked: tuple[Message, ...], written: str, pair: Pair
) -> tuple[Message, ...]:
    """The Judge asked once more, after something that was no verdict."""
    again = _render("judge_again", name=pair.persona.name)
    return (*asked, Message("assistant", written), Message("user", again))
