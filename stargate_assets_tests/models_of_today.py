"""How the chat templates of today's models write a dialogue, on the bundled model's tokenizer.

Each is a template of our own with the structure of a well-known one: what it writes before an
answer, what of a thought it keeps, whether it strips a text, and what ends a turn.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken
from transformers import AutoTokenizer

_PLAIN_TURN = "{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>\n' }}"
_OPEN_PLAIN = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
_CHANNEL_FINAL = "'<|start|>assistant<|channel|>final<|message|>'"
_NO_THOUGHT = "'<think>\n\n</think>\n\n'"


@cache
def _tokenizer(bundled: Path) -> Any:
    return AutoTokenizer.from_pretrained(bundled)


@dataclass(frozen=True, slots=True)
class Template:
    """`special` are its special tokens, `added` those that are added and not special; the last of
    `special` ends a turn. `stated` is what it is told besides the messages.
    """

    source: str
    special: tuple[str, ...] = ("<|im_end|>",)
    added: tuple[str, ...] = ()
    stated: Mapping[str, Any] = field(default_factory=dict[str, Any])
    learnt: str = "{}"
    """What is learnt for an answer, without the token that ends its turn."""
    keeps_system: bool = True
    """Whether a dialogue that ends with an answer is written with its system text."""

    def tokenizer(self, bundled: Path) -> Any:
        tokenizer = deepcopy(_tokenizer(bundled))
        tokenizer.add_tokens([AddedToken(t, normalized=False) for t in self.added])
        tokenizer.add_tokens(
            [AddedToken(t, special=True, normalized=False) for t in self.special],
            special_tokens=True,
        )
        tokenizer.chat_template = self.source
        return tokenizer


_QWEN3 = (
    "{% set ns = namespace(asked=0) %}{% for m in messages %}{% if m.role == 'user' %}"
    "{% set ns.asked = loop.index0 %}{% endif %}{% endfor %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}"
    "{% set said = m.content.split('</think>')[-1].lstrip('\n') %}"
    "{% set thought = m.content.split('</think>')[0].split('<think>')[-1].strip('\n') "
    "if '</think>' in m.content else '' %}"
    "{{ '<|im_start|>assistant\n' }}"
    "{% if loop.index0 > ns.asked %}{{ '<think>\n' ~ thought ~ '\n</think>\n\n' }}{% endif %}"
    "{{ said ~ '<|im_end|>\n' }}"
    "{% else %}" + _PLAIN_TURN + "{% endif %}{% endfor %}" + _OPEN_PLAIN + "{% if enable_thinking "
    "is defined and enable_thinking is false %}{{ " + _NO_THOUGHT + " }}{% endif %}{% endif %}"
)
_SMOLLM3 = (
    "{% set thinks = enable_thinking is not defined or enable_thinking %}"
    "{{ '<|im_start|>system\n## Metadata\n\nToday Date: ' ~ strftime_now('%d %B %Y') ~ '\n"
    "Reasoning Mode: ' ~ ('/think' if thinks else '/no_think') ~ '\n\n' }}"
    "{% if messages[0].role == 'system' %}{{ messages[0].content.rstrip() }}{% endif %}"
    "{{ '<|im_end|>\n' }}{% for m in messages if m.role != 'system' %}"
    "{% if m.role == 'assistant' %}{{ '<|im_start|>assistant\n' ~ ('' if thinks else "
    "'<think>\n\n</think>\n') ~ m.content.lstrip('\n') ~ '<|im_end|>\n' }}{% else %}"
    + _PLAIN_TURN
    + "{% endif %}{% endfor %}"
    + _OPEN_PLAIN
    + "{{ '' if thinks else '<think>\n\n</think>\n' }}{% endif %}"
)
_DEEPSEEK = (
    "{{ '<｜begin▁of▁sentence｜>' }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "{{ '<｜User｜>' ~ m.content }}{% else %}{{ '<｜Assistant｜>' ~ "
    "m.content.split('</think>')[-1] ~ '<｜end▁of▁sentence｜>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}"
)
_DEEPSEEK_V3_1 = (
    "{{ '<｜begin▁of▁sentence｜>' }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "{{ '<｜User｜>' ~ m.content }}{% else %}{{ '<｜Assistant｜></think>' ~ "
    "m.content ~ '<｜end▁of▁sentence｜>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<｜Assistant｜>' ~ ('<think>' if thinking else '</think>') }}{% endif %}"
)
_GPT_OSS = (
    "{{ '<|start|>system<|message|>Current date: ' ~ strftime_now('%Y-%m-%d') ~ '\n\nReasoning: ' "
    "~ (reasoning_effort or 'medium') ~ '<|end|>' }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ '<|start|>developer<|message|># Instructions\n\n' ~ m.content "
    "~ '<|end|>' }}{% elif m.role == 'user' %}"
    "{{ '<|start|>user<|message|>' ~ m.content ~ '<|end|>' }}{% else %}"
    "{{ " + _CHANNEL_FINAL + " ~ m.content ~ ('<|return|>' if loop.last and not "
    "add_generation_prompt else '<|end|>') }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant' }}{% endif %}"
)
_GEMMA3 = (
    "{{ '<bos>' }}{% set system = messages[0].content ~ '\n\n' if messages[0].role == 'system' "
    "else '' %}{% for m in messages if m.role != 'system' %}{{ '<start_of_turn>' ~ ('model' if "
    "m.role == 'assistant' else m.role) ~ '\n' ~ (system if loop.first else '') }}"
    "{{ m.content | trim ~ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
_LLAMA3 = (
    "{% set system = messages[0].content | trim if messages[0].role == 'system' else '' %}"
    "{{ '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: ' ~ "
    "strftime_now('%d %b %Y') ~ '\n\n' ~ system ~ '<|eot_id|>' }}"
    "{% for m in messages if m.role != 'system' %}{{ '<|start_header_id|>' ~ m.role ~ "
    "'<|end_header_id|>\n\n' ~ m.content | trim ~ '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
MISTRAL = (
    "{% set system = messages[0].content if messages[0].role == 'system' %}{{ '<s>' }}"
    "{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}"
    "{{ '[INST] ' ~ (system ~ '\n\n' if loop.last and system else '') ~ m.content ~ '[/INST]' }}"
    "{% else %}{{ ' ' ~ m.content | trim ~ '</s>' }}{% endif %}{% endfor %}"
)
_DEEPSEEK_TOKENS = (
    *("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
)
_THINK_TOKENS = ("<think>", "</think>")
NO_THINKING = {"enable_thinking": False}
TEMPLATES = {
    "qwen3": Template(_QWEN3, added=_THINK_TOKENS, learnt="<think>\n\n</think>\n\n{}"),
    "qwen3 told not to think": Template(_QWEN3, added=_THINK_TOKENS, stated=NO_THINKING),
    "smollm3": Template(_SMOLLM3, added=_THINK_TOKENS),
    "smollm3 told not to think": Template(_SMOLLM3, added=_THINK_TOKENS, stated=NO_THINKING),
    "deepseek": Template(_DEEPSEEK, _DEEPSEEK_TOKENS, _THINK_TOKENS),
    "deepseek v3.1 told to think": Template(
        _DEEPSEEK_V3_1,
        _DEEPSEEK_TOKENS,
        _THINK_TOKENS,
        {"thinking": True},
        learnt="</think>{}",
    ),
    "gpt-oss": Template(
        _GPT_OSS,
        ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>"),
        learnt="<|channel|>final<|message|>{}",
    ),
    "gemma3": Template(_GEMMA3, ("<bos>", "<start_of_turn>", "<end_of_turn>")),
    "llama3": Template(
        _LLAMA3,
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    "mistral": Template(
        MISTRAL, ("<s>", "[INST]", "[/INST]", "</s>"), learnt=" {}", keeps_system=False
    ),
}
