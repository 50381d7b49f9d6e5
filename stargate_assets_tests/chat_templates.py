"""Small real tokenizers with the chat templates of well-known model families, made in memory."""

from dataclasses import dataclass
from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from stargate_assets.engines.chat_tokenizer import ChatTokenizer

_OPEN, _CLOSE = "{% for m in messages %}", "{% endfor %}{% if add_generation_prompt %}"
_REFUSE = "{% if m.role == 'system' %}{{ raise_exception('No system role, please.') }}{% endif %}"


@dataclass(frozen=True, slots=True)
class Family:
    template: str
    end_of_turn: str
    eos: str
    declared: tuple[str, ...] = ()
    """Special tokens besides bos and eos that the tokenizer's configuration lists by name."""
    has_system_role: bool = True
    appends: bool = True
    """Whether a longer dialogue is rendered as an extension of a shorter one."""


FAMILIES = {
    "chatml": Family(
        _OPEN + "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
        f"{_CLOSE}{{{{ '<|im_start|>assistant\n' }}}}{{% endif %}}",
        end_of_turn="<|im_end|>",
        eos="<|im_end|>",
    ),
    "mistral": Family(
        "{{ bos_token }}" + _OPEN + _REFUSE + "{% if m.role == 'user' %}"
        "{{ '[INST] ' + m.content + ' [/INST]' }}"
        "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
        end_of_turn="</s>",
        eos="</s>",
        has_system_role=False,
    ),
    "llama3": Family(
        "{{ bos_token }}" + _OPEN + "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' "
        "+ m.content | trim + '<|eot_id|>' }}" + _CLOSE + "{{ '<|start_header_id|>assistant"
        "<|end_header_id|>\n\n' }}{% endif %}",
        end_of_turn="<|eot_id|>",
        eos="<|eot_id|>",
    ),
    "gemma": Family(
        "{{ bos_token }}" + _OPEN + _REFUSE + "{{ '<start_of_turn>' + "
        "('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim + "
        "'<end_of_turn>\n' }}" + _CLOSE + "{{ '<start_of_turn>model\n' }}{% endif %}",
        end_of_turn="<end_of_turn>",
        eos="</s>",
        declared=("<start_of_turn>", "<end_of_turn>"),
        has_system_role=False,
    ),
    "phi3": Family(  # its `<|end|>` is a special token that no entry of the configuration names
        _OPEN + "{% if m.role != 'system' %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}"
        "{% endif %}" + _CLOSE + "{{ '<|assistant|>\n' }}{% endif %}",
        end_of_turn="<|end|>",
        eos="</s>",
        has_system_role=False,  # dropped without a word
    ),
    "rewriting": Family(  # opens with a thought, and shortens what the assistant said before
        _OPEN + "{% set said = m.content[:2] if m.role == 'assistant' and not loop.last "
        "else m.content %}{{ '<|im_start|>' + m.role + '\n' + said + '<|im_end|>\n' }}"
        f"{_CLOSE}{{{{ '<|im_start|>assistant\n<think></think>' }}}}{{% endif %}}",
        end_of_turn="<|im_end|>",
        eos="<|im_end|>",
        appends=False,
    ),
}
SPECIAL = [
    *("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|user|>", "<|assistant|>", "<|end|>"),
    *("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<start_of_turn>", "<end_of_turn>"),
]
_CORPUS = "What do you do for a living? I bake bread at night.\n\nWho do you live with at home?"


@cache
def chat_tokenizer(family: str) -> ChatTokenizer:
    """A byte-level tokenizer with some merges, so that neighbours can grow together."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([_CORPUS] * 4, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", SPECIAL.index("<s>"))]
    )
    made = FAMILIES[family]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=SPECIAL[0],
        eos_token=made.eos,
        extra_special_tokens=list(made.declared),
        chat_template=made.template,
    )
    return ChatTokenizer(tokenizer, family)


def special_id(family: str, token: str) -> int:
    return chat_tokenizer(family).tokenizer.convert_tokens_to_ids(token)
