"""How many tokens a model would make of a prompt, without the model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.engines.tokenizers import find_tokenizer
from stargate_assets.method.language_model import Message
from stargate_assets.models.bundled import BUNDLED

if TYPE_CHECKING:
    import tiktoken

_OPENAI_MESSAGE, _OPENAI_REPLY = 3, 3
"""Tokens that OpenAI's chat format adds to each message, and to a prompt."""


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """`whose` tokenizer counts: the model's own, or another's where that is not to be had."""

    whose: str
    prompt: Callable[[Sequence[Message]], int]
    text: Callable[[str], int]


def token_counter(spec: ModelSpec, path: Callable[[ModelSpec], str]) -> TokenCounter:
    """The model's own tokenizer if it is on disk or can be fetched, else the bundled model's;
    `path` says where a model is.
    """
    if spec.entry.remote and (encoding := _openai_encoding(spec.model)):
        return _openai_counter(spec.model, encoding)
    if not spec.entry.weights:
        return TokenCounter(
            "words", lambda messages: sum(map(_words, messages)), lambda t: len(t.split())
        )
    if own := find_tokenizer(path(spec), spec.revision):
        return _chat_counter(ChatTokenizer(own, spec.model, spec.chat_template_kwargs))
    stand_in = find_tokenizer(path(ModelSpec(model=BUNDLED)), None)
    return _chat_counter(ChatTokenizer(stand_in, "the bundled model"))


def _words(message: Message) -> int:
    return len(message.content.split())


def _chat_counter(chat: ChatTokenizer) -> TokenCounter:
    return TokenCounter(
        chat.name,
        lambda messages: len(chat.prompt_ids(messages)),
        lambda text: len(chat.text_ids(text)),
    )


def _openai_counter(whose: str, encoding: "tiktoken.Encoding") -> TokenCounter:
    def text(content: str) -> int:
        return len(encoding.encode(content, disallowed_special=()))

    def prompt(messages: Sequence[Message]) -> int:
        return _OPENAI_REPLY + sum(_OPENAI_MESSAGE + 1 + text(m.content) for m in messages)

    return TokenCounter(whose, prompt, text)


@cache
def _openai_encoding(model: str) -> "tiktoken.Encoding | None":
    """None for what is no model of OpenAI's, and where its vocabulary cannot be fetched."""
    import tiktoken

    try:
        return tiktoken.encoding_for_model(model)
    except (KeyError, OSError):
        return None
