"""A model's chat template as token ids: one place for generation, scoring and training."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from stargate_assets.engines.tokenizers import date_arguments
from stargate_assets.method.language_model import ChatRequest, EngineError, Message, ScoreRequest


def turns(messages: Sequence[Message], has_system_role: bool) -> list[dict[str, str]]:
    """Messages as templates take them. Without a system role the system text opens the first
    user message.
    """
    plain = [{"role": m.role, "content": m.content} for m in messages]
    if has_system_role or not plain or plain[0]["role"] != "system":
        return plain
    system, first, *rest = plain
    return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *rest]


class ChatTokenizer:
    """Wraps a Hugging Face tokenizer. Templates without a system role are found by trying one: the
    system text then opens the first user message.
    """

    def __init__(self, tokenizer: Any, name: str):
        self.tokenizer, self.name = tokenizer, name
        if not tokenizer.chat_template:
            raise EngineError(
                f"The tokenizer of {name} has no chat template; use an instruction-tuned model, "
                "or add "
                "chat_template.jinja to its directory."
            )
        self.date_arguments = date_arguments(tokenizer)
        self.end_of_turn_ids: tuple[int, ...] = self._end_of_turn_ids()

    def render(self, messages: Sequence[Message], generation: bool) -> str:
        folds = messages[:1] and messages[0].role == "system" and not self.has_system_role
        return self._apply_template(turns(messages, not folds), generation)

    def _apply_template(self, conversation: list[dict[str, str]], generation: bool) -> str:
        return self.tokenizer.apply_chat_template(
            conversation,
            tokenize=False,
            add_generation_prompt=generation,
            **self.date_arguments,
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
        """The context of an assistant turn, up to and including the words that open it."""
        return self._ids(self.render(messages, generation=True))

    def prompts(
        self, requests: Sequence[ChatRequest] | Sequence[ScoreRequest]
    ) -> list[tuple[int, ...]]:
        """The prompt of each request; messages that requests share are rendered once."""
        distinct = {request.messages for request in requests}
        known = {messages: self.prompt_ids(messages) for messages in distinct}
        return [known[request.messages] for request in requests]

    def scored_ids(self, request: ScoreRequest) -> tuple[int, ...]:
        """The tokens that follow the prompt and are scored."""
        ends = self.end_of_turn_ids if request.end_of_turn else ()
        return self.text_ids(request.continuation) + ends

    def stop_ids(self, generation_config: Any) -> frozenset[int]:
        """The tokens that end a completion: what the model's configuration says, and the end of
        turn.
        """
        configured = generation_config.eos_token_id
        stops = configured if isinstance(configured, list) else [configured]
        return frozenset({*stops, self.end_of_turn_ids[-1]} - {None})

    def text_ids(self, text: str) -> tuple[int, ...]:
        return self._ids(text)

    def _ids(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False).input_ids)

    def _end_of_turn_ids(self) -> tuple[int, ...]:
        """What the template writes after an assistant's message, up to its first special token."""
        user = Message("user", "zxqusr")
        opened = self.render([user], generation=True)
        closed = self.render([user, Message("assistant", "zxqans")], generation=False)
        tail = closed[len(opened) :].partition("zxqans")[2] if closed.startswith(opened) else ""
        ids = self._ids(tail)
        added = self.tokenizer.added_tokens_decoder.items()
        special = {*self.tokenizer.all_special_ids, *(i for i, token in added if token.special)}
        for position, token in enumerate(ids):
            if token in special:
                return ids[: position + 1]
        return (self.tokenizer.eos_token_id,)

    def decode(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(list(ids), skip_special_tokens=True)
