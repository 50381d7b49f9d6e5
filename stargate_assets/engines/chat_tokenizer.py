"""A model's chat template as token ids: one place for generation, scoring and training."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError

from stargate_assets.config.digest import digest_text
from stargate_assets.engines.control_tokens import ControlTokens
from stargate_assets.engines.tokenizers import date_arguments, template_date
from stargate_assets.engines.turns import (
    ANSWERED,
    ASKED,
    SPACED,
    TurnForm,
    read_turn_form,
    split_turn,
    turns,
)
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    EngineError,
    Message,
    ScoreRequest,
)
from stargate_assets.method.thoughts import (
    BLOCK_TOKENS,
    CHANNEL,
    CHANNEL_TOKENS,
    opened_thought,
    read_completion,
)

TOKENISED_IN_PLACE = "tokenised in place"
_END_OF_PROMPT = 16
"""Tokens in which a prompt may open a thought."""


class ChatTokenizer:
    """Wraps a Hugging Face tokenizer. `stated` is what its chat template is told besides the
    messages. Templates without a system role are found by trying one: the system text then opens
    the first user message.
    """

    def __init__(self, tokenizer: Any, name: str, stated: Mapping[str, Any] | None = None):
        self.tokenizer, self.name = tokenizer, name
        if not tokenizer.chat_template:
            raise EngineError(
                f"The tokenizer of {name} has no chat template; use an instruction-tuned model, "
                "or add "
                "chat_template.jinja to its directory."
            )
        self.template_arguments = {**(stated or {}), **date_arguments(tokenizer)}
        self.control_tokens = ControlTokens(tokenizer)
        self.form: TurnForm = read_turn_form(
            self.render([ASKED], generation=True),
            self.render([ASKED, ANSWERED], generation=False),
            self.render([ASKED, SPACED], generation=False),
        )
        self.end_of_turn_ids: tuple[int, ...] = self._end_of_turn_ids()

    def render(self, messages: Sequence[Message], generation: bool) -> str:
        folds = messages[:1] and messages[0].role == "system" and not self.has_system_role
        try:
            return self._apply_template(turns(messages, not folds), generation)
        except TemplateError as error:
            line = f", line {error.lineno}" if isinstance(error, TemplateSyntaxError) else ""
            raise EngineError(
                f"The chat template of {self.name} is broken{line} ({error}); correct "
                "chat_template.jinja, or chat_template in tokenizer_config.json, of the model."
            ) from error

    def _apply_template(self, conversation: list[dict[str, str]], generation: bool) -> str:
        return self.tokenizer.apply_chat_template(
            conversation,
            tokenize=False,
            add_generation_prompt=generation,
            **self.template_arguments,
        )

    @cached_property
    def has_system_role(self) -> bool:
        probe = [{"role": "system", "content": "zxqsys"}, {"role": "user", "content": "zxqusr"}]
        try:
            rendered = self._apply_template(probe, generation=True)
        except TemplateError:
            return False
        return "zxqsys" in rendered

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """What an assistant turn is sampled after, up to and including the words that open it."""
        return self.control_tokens.ids(self._opened(messages))

    def context_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """What an assistant turn is learnt and scored after: the prompt, without a thought that it
        opens and that the template does not write for a message that it keeps.
        """
        return self.control_tokens.ids(self._opened(messages).removesuffix(self.form.dropped))

    def _opened(self, messages: Sequence[Message]) -> str:
        hidden = [replace(m, content=self.control_tokens.hide(m.content)) for m in messages]
        return self.render(hidden, generation=True)

    def prompts(self, requests: Sequence[ChatRequest]) -> list[tuple[int, ...]]:
        """The prompt of each request; messages that requests share are rendered once."""
        known = {m: self.prompt_ids(m) for m in {request.messages for request in requests}}
        return [known[request.messages] for request in requests]

    def scored(
        self, requests: Sequence[ScoreRequest]
    ) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """The context of each request's continuation, and the tokens that are scored after it. What
        the template writes before every message is context.
        """
        known = {m: self.context_ids(m) for m in {request.messages for request in requests}}
        found: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        for request in requests:
            before, said = self._turn(request.continuation)
            ends = self.end_of_turn_ids if request.end_of_turn else ()
            found.append((known[request.messages] + before, said + ends))
        return found

    def turn_ids(self, text: str) -> tuple[int, ...]:
        """What the template writes for an assistant's message, from where `context_ids` ends up to
        the token that ends the turn.
        """
        before, said = self._turn(text)
        return before + said + self.end_of_turn_ids

    def _turn(self, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        said = self.control_tokens.hide(self.form.strip(text))
        anchor, opened = self._opening
        written = self.form.anchor + self.form.before + said
        if turn := split_turn(anchor, opened, self.control_tokens.ids(written)):
            return turn
        return self.control_tokens.ids_after(self.form.before), self.control_tokens.ids_after(said)

    @property
    def tokenises_in_place(self) -> bool:
        """Whether an answer that nothing is written before has other tokens than its text alone."""
        said = self._turn(ANSWERED.content)[1]
        return not self.form.before and said != self.text_ids(ANSWERED.content)

    @cached_property
    def _opening(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The tokens of the anchor, without and with what stands before a message."""
        anchor, read = self.form.anchor, self.control_tokens.ids
        return read(anchor), read(anchor + self.form.before)

    def stop_ids(self, generation_config: Any) -> frozenset[int]:
        """The tokens that end a completion: what the model's configuration says, and the end of
        turn.
        """
        configured = generation_config.eos_token_id
        stops = configured if isinstance(configured, list) else [configured]
        return frozenset({*stops, self.end_of_turn_ids[-1]} - {None})

    def text_ids(self, text: str) -> tuple[int, ...]:
        """A text's tokens, none of which is a control token."""
        return self.control_tokens.ids(self.control_tokens.hide(text))

    def text_vocabulary(self) -> list[int]:
        """The tokens that texts are made of: all that were not added to them."""
        known = set(self.tokenizer.get_vocab().values())
        return sorted(known - self.tokenizer.added_tokens_decoder.keys())

    def _end_of_turn_ids(self) -> tuple[int, ...]:
        """What the template writes after an assistant's message, up to its first special token."""
        ids = self.control_tokens.ids(self.form.after)
        for position, token in enumerate(ids):
            if token in self.control_tokens.special:
                return ids[: position + 1]
        return (self.tokenizer.eos_token_id,)

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)

    def completion(self, prompt: Sequence[int], tokens: Sequence[int], stopped: bool) -> Completion:
        """The completion that these tokens are; `stopped` if a token ended it, which is not among
        them.
        """
        return read_completion(
            self._written(tokens),
            "stop" if stopped else "length",
            len(prompt),
            len(tokens) + stopped,
            opened=opened_thought(self.tokenizer.decode(list(prompt[-_END_OF_PROMPT:]))),
        )

    def _written(self, ids: Sequence[int]) -> str:
        """A text with those of its special tokens that mark thoughts."""
        special = self.control_tokens.special
        found = {special[i] for i in ids if i in special}
        marks = BLOCK_TOKENS | (CHANNEL_TOKENS if CHANNEL in found else frozenset())
        if not found & marks:
            return self.decode(ids)
        kept = [i for i in ids if i not in special or special[i] in marks]
        return self.tokenizer.decode(kept, skip_special_tokens=False)


def template_traits(tokenizer: Any, stated: Mapping[str, Any]) -> tuple[str, ...]:
    """What a result depends on of what a chat template adds to messages: the date that it shows,
    and how it writes an answer, where that is not just what was said, or where that has other
    tokens than the text alone. Empty for most.
    """
    if not tokenizer.chat_template:
        return ()
    date, chat = template_date(tokenizer), ChatTokenizer(tokenizer, tokenizer.name_or_path, stated)
    shown, form = [] if date is None else [date], chat.form
    if form.differs:
        return (*shown, digest_text(form.dropped, form.before))
    return (*shown, *([TOKENISED_IN_PLACE] if chat.tokenises_in_place else []))
