"""What each role sees of a conversation, as chat messages.

Texts are templates (`templates.py`); constant text comes first in those that are shipped, so that
requests share their prefix.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stargate_assets.method.conversation import Conversation, Pair, Persona
from stargate_assets.method.language_model import Message
from stargate_assets.method.templates import (
    EXPERIMENT_TEMPLATES,
    for_named_first_person,
    render,
    shipped_text,
    without_comments,
)


@dataclass(frozen=True)
class Prompts:
    """The prompts of all roles: those that are shipped, but for the texts of `replaced`, which are
    by the template's name.
    """

    replaced: Mapping[str, str] = field(default_factory=dict[str, str])

    def replace(self, template: str, text: str) -> "Prompts":
        """The same prompts with another text for one template."""
        return replace(self, replaced={**self.replaced, template: text})

    def text(self, template: str) -> str:
        """The text of a template."""
        if template in self.replaced:
            return self.replaced[template]
        return shipped_text(template)

    def sources(self, templates: Iterable[str]) -> list[str]:
        """The names and texts of templates, without comments: what a version of rows that were
        made with them depends on. A template without text is none. Of a shipped text, what it says
        of personas without a name or in the third person does not count: `as_found_sources`.
        """
        found: list[str] = []
        for name in dict.fromkeys(templates):
            text = without_comments(self.text(name))
            if text == without_comments(shipped_text(name)):
                text = for_named_first_person(text)
            if text:
                found.append(f"{name}\n{text}")
        return found

    def questioner_messages(self, conversation: Conversation) -> tuple[Message, ...]:
        """The policy while asking: elicitation instructions, name and task, the dialogue so far.
        Each user message ends by inviting the next question.
        """
        pair = conversation.pair
        messages = [
            *self._system("questioner", pair),
            self._inviting(pair, self._opening(pair).content),
        ]
        for question, answer in zip(conversation.questions, conversation.answers, strict=False):
            messages += [Message("assistant", question), self._inviting(pair, answer)]
        return tuple(messages)

    def roleplayer_messages(self, conversation: Conversation) -> tuple[Message, ...]:
        """The Roleplayer: persona and task, and the dialogue with the roles swapped, up to the last
        question.
        """
        pair = conversation.pair
        messages = [*self._system("roleplayer", pair, **_described(pair.persona))]
        for turn, question in enumerate(conversation.questions):
            messages.append(Message("user", question))
            if turn < len(conversation.answers):
                messages.append(Message("assistant", conversation.answers[turn]))
        return tuple(messages)

    def respondent_messages(
        self, conversation: Conversation, pair: Pair | None = None
    ) -> tuple[Message, ...]:
        """The policy while answering, and the scorer: no elicitation instructions; the task stands
        again at the end of the last reply, so that what follows is a response and not another
        question.

        With another `pair`, the dialogue is heard as if that pair's user had led it (Q-random).
        """
        return self._answering(conversation, pair or conversation.pair, "closing")

    def instructed_messages(self, conversation: Conversation) -> tuple[Message, ...]:
        """The respondent's context where the last reply ends with the request to use what has been
        said: what a prompt alone achieves.
        """
        return self._answering(conversation, conversation.pair, "instructed")

    def negative_control_messages(self, pair: Pair) -> tuple[Message, ...]:
        """The task alone, as the respondent sees it."""
        return *self._system("respondent", pair), self._opening(pair)

    def positive_control_messages(self, pair: Pair) -> tuple[Message, ...]:
        """Persona and task, no dialogue, as the respondent sees them."""
        return *self._system("respondent", pair), self._persona_opening(pair)

    def fit_messages(self, pair: Pair) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
        """What a Judge of method `fit` compares: persona and task, and the task alone."""
        return (self._persona_opening(pair),), (self._opening(pair),)

    def oracle_messages(self, pair: Pair) -> tuple[Message, ...]:
        """The Oracle: persona and task, no dialogue."""
        system = self._system("oracle", pair, **_described(pair.persona))
        return *system, Message("user", pair.task.text)

    def task_writer_messages(
        self, examples: Sequence[tuple[str, str, str]], domain: str, count: int
    ) -> tuple[Message, ...]:
        """Who writes tasks: the rules, (kind, text, domain) of the examples as what it has written
        so far, and the request for `count` tasks about a domain.
        """
        messages = [Message("system", self._render("task_writer"))]
        for kind, text, of in examples:
            asked = self._render("task_request", domain=of, count="1")
            written = self._render("task_example", kind=kind, task=text)
            messages += [Message("user", asked), Message("assistant", written)]
        request = self._render("task_request", domain=domain, count=str(count))
        return *messages, Message("user", request)

    def persona_writer_messages(self, examples: Sequence[Persona]) -> tuple[Message, ...]:
        """Who writes personas: the rules, and the examples as what it has written so far."""
        request = Message("user", self._render("persona_request"))
        messages = [Message("system", self._render("persona_writer")), request]
        for persona in examples:
            written = self._render("persona_example", name=persona.name, persona=persona.text)
            messages += [Message("assistant", written), request]
        return tuple(messages)

    def judge_messages(self, pair: Pair, a: str, b: str, *, written: bool) -> tuple[Message, ...]:
        """The Judge: persona, task and two responses; asked for a letter, or for a comparison and a
        verdict.
        """
        persona = pair.persona
        closing = self._render("judge_written" if written else "judge_choice", name=persona.name)
        values = {"name": persona.name, "task": pair.task.text, **_described(persona)}
        return (Message("user", self._render("judge", **values, a=a, b=b, closing=closing)),)

    def judge_again_messages(
        self, asked: tuple[Message, ...], written: str, pair: Pair
    ) -> tuple[Message, ...]:
        """The Judge asked once more, after something that was no verdict."""
        again = self._render("judge_again", name=pair.persona.name)
        return (*asked, Message("assistant", written), Message("user", again))

    def _render(self, template: str, /, **values: str | bool) -> str:
        return render(self.text(template), **values)

    def _render_for(self, template: str, pair: Pair, /, **values: str | bool) -> str:
        return self._render(template, name=pair.persona.name, task=pair.task.text, **values)

    def _system(self, template: str, pair: Pair, /, **values: str | bool) -> tuple[Message, ...]:
        """A system message, or none if its template has no text."""
        text = self._render_for(template, pair, **values)
        return (Message("system", text),) if text else ()

    def _opening(self, pair: Pair) -> Message:
        return Message("user", self._render_for("opening", pair))

    def _persona_opening(self, pair: Pair) -> Message:
        described = _described(pair.persona)
        return Message("user", self._render_for("persona_opening", pair, **described))

    def _inviting(self, pair: Pair, said: str) -> Message:
        return Message("user", self._render_for("asking", pair, message=said))

    def _answering(
        self, conversation: Conversation, pair: Pair, closing: str
    ) -> tuple[Message, ...]:
        """The dialogue as whoever answers sees it; `closing` is the template of the last reply."""
        messages = [*self._system("respondent", pair), self._opening(pair)]
        last = len(conversation.questions) - 1
        for turn, (question, answer) in enumerate(
            zip(conversation.questions, conversation.answers, strict=True)
        ):
            heard = self._render_for(closing, pair, answer=answer) if turn == last else answer
            messages += [Message("assistant", question), Message("user", heard)]
        return tuple(messages)


def _described(persona: Persona) -> dict[str, str | bool]:
    """What templates may use that show a persona."""
    return {"persona": persona.text, "third_person": persona.third_person}


def as_found_sources() -> list[str]:
    """The shipped texts whole: what the rows of an experiment depend on whose personas have no
    names, or are in the third person.
    """
    return [without_comments(shipped_text(name)) for name in EXPERIMENT_TEMPLATES]


SHIPPED = Prompts()
"""The prompts of an experiment that replaces none."""
