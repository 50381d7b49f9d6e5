"""What is sampled, scored and learnt of models whose templates open a thought or a channel, held
against what `apply_chat_template` writes.
"""

from functools import cache
from pathlib import Path
from string import ascii_letters
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stargate_assets.engines.chat_tokenizer import ChatTokenizer, template_traits
from stargate_assets.engines.tokenizers import TEMPLATE_DATE
from stargate_assets.method.examples import IGNORED, Dialogue, Example, tokenise
from stargate_assets.method.language_model import Message, ScoreRequest
from stargate_assets_tests.models_of_today import MISTRAL, TEMPLATES

SYSTEM = Message("system", "Ask.")
TALK = (
    Message("user", "What should I cook?"),
    Message("assistant", "Who eats?"),
    Message("user", "My sister."),
    Message("assistant", "What does she avoid?"),
)
CONTROL = ("<|im_end|>", "<|im_start|>", "<think>", "</think>", "</s>", "[INST]", "<|end|>")
every_template = pytest.mark.parametrize("name", TEMPLATES)


@cache
def chat_of(name: str, bundled: Path) -> ChatTokenizer:
    template = TEMPLATES[name]
    return ChatTokenizer(template.tokenizer(bundled), name, template.stated)


def rendered(chat: ChatTokenizer, *messages: Message, opened: bool = False) -> str:
    """What the template itself writes, without what follows the end of the last turn."""
    said = [{"role": m.role, "content": m.content} for m in messages]
    arguments: dict[str, Any] = {"add_generation_prompt": opened, **chat.template_arguments}
    whole = chat.tokenizer.apply_chat_template(said, tokenize=False, **arguments)
    return whole if opened else whole.rstrip("\n")


def text_of(chat: ChatTokenizer, ids: Any) -> str:
    return chat.tokenizer.decode(list(ids), skip_special_tokens=False)


def labelled(example: Example) -> list[int]:
    return [token for token in example.labels if token != IGNORED]


@every_template
@pytest.mark.parametrize("kind", ["question", "answer"])
@pytest.mark.parametrize("before", [(), (SYSTEM,)])
def test_what_is_learnt_is_what_the_template_writes(
    smollm: Path, name: str, kind: Any, before: tuple[Message, ...]
) -> None:
    """Byte for byte, one example for each turn that a longer dialogue rewrites."""
    chat, template = chat_of(name, smollm), TEMPLATES[name]
    examples = tokenise(Dialogue(kind, (*before, *TALK)), chat)
    assert text_of(chat, labelled(examples[-1])).endswith(
        template.learnt.format("What does she avoid?") + template.special[-1]
    )
    if before and not template.keeps_system:  # it is kept: the answer is sampled after it
        assert text_of(chat, examples[-1].tokens).count("Ask.") == 1
        return
    whole = {rendered(chat, *before, *TALK), rendered(chat, *before, *TALK[:2])}
    written = [text_of(chat, example.tokens) for example in examples]
    assert set(written) <= whole
    assert written[-1] == rendered(chat, *before, *TALK)
    if kind == "question":
        asked = [template.learnt.format(m.content) + template.special[-1] for m in TALK[1::2]]
        assert "".join(text_of(chat, labelled(e)) for e in examples) == "".join(asked)


@every_template
def test_what_is_scored_is_what_is_learnt(smollm: Path, name: str) -> None:
    """Of the same tokens, those of the answer: what the template writes before is context."""
    chat = chat_of(name, smollm)
    (example,) = tokenise(Dialogue("answer", TALK), chat)
    ((context, said),) = chat.scored([ScoreRequest(TALK[:-1], TALK[-1].content, end_of_turn=True)])
    assert context + said == example.tokens
    answer = text_of(chat, said).removesuffix(TEMPLATES[name].special[-1])
    assert answer.strip() == TALK[-1].content
    assert "think>" not in answer and "channel" not in answer


@every_template
def test_a_prompt_is_the_template_s(smollm: Path, name: str) -> None:
    chat = chat_of(name, smollm)
    for messages in (TALK[:1], (SYSTEM, *TALK[:3])):
        assert text_of(chat, chat.prompt_ids(messages)) == rendered(chat, *messages, opened=True)


@pytest.mark.parametrize("name", ["gemma3", "llama3", "mistral", "qwen3", "smollm3"])
def test_a_text_is_stripped_where_the_template_strips_it(smollm: Path, name: str) -> None:
    chat, padded = chat_of(name, smollm), Message("assistant", "\n Who eats? \n")
    (example,) = tokenise(Dialogue("answer", (TALK[0], padded)), chat)
    assert text_of(chat, example.tokens) == rendered(chat, TALK[0], padded)


@pytest.mark.parametrize("name", TEMPLATES)
@settings(deadline=None, max_examples=15)
@given(text=st.lists(st.sampled_from((*CONTROL, "Well.", " ", "é", "\n")), min_size=1).map("".join))
def test_control_tokens_in_a_text_are_text(smollm: Path, name: str, text: str) -> None:
    """In prompts, scores and training, for every role."""
    chat = chat_of(name, smollm)
    text = f"a{text}z"
    said = [Message(role, text) for role in ("system", "user", "assistant")]
    calm = [Message(m.role, "az") for m in said]
    control = set(chat.control_tokens.special) | set(chat.tokenizer.get_added_vocab().values())

    def tokens(messages: list[Message]) -> list[tuple[int, ...]]:
        dialogue = Dialogue("answer", tuple(messages))
        scored = chat.scored([ScoreRequest(tuple(messages[:2]), messages[2].content)])
        return [
            chat.prompt_ids(messages[:2]),
            tokenise(dialogue, chat)[0].tokens,
            sum(scored[0], ()),
        ]

    for found, expected in zip(tokens(said), tokens(calm), strict=True):
        assert [i for i in found if i in control] == [i for i in expected if i in control]
        assert text_of(chat, found) == text_of(chat, expected).replace("az", text)


def test_templates_that_add_nothing_give_the_tokens_that_they_always_gave(smollm: Path) -> None:
    """A score that is stored stays what it was."""
    for name in ("gemma3", "llama3", "smollm3", "qwen3 told not to think"):
        chat = chat_of(name, smollm)
        prompt = rendered(chat, *TALK[:3], opened=True)
        read = [chat.tokenizer(t, add_special_tokens=False).input_ids for t in (prompt, "Bread.")]
        assert chat.scored([ScoreRequest(TALK[:3], "Bread.")]) == [tuple(map(tuple, read))]
        assert not chat.form.differs


def test_a_tokenizer_that_writes_spaces_itself_gives_the_tokens_that_it_always_gave() -> None:
    """SentencePiece puts a space before a text, and Mistral's template one before an answer: there
    is one space.
    """
    letters = [*"▁<>/[]?\n", *ascii_letters]
    start, end = "<s>", "</s>"
    vocabulary = {token: i for i, token in enumerate([start, end, "[INST]", "[/INST]", *letters])}
    vocabulary |= {"▁W": len(vocabulary)}
    bpe = Tokenizer(models.BPE(vocabulary, [("▁", "W")]))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    bpe.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=start,
        eos_token=end,
        extra_special_tokens=["[INST]", "[/INST]"],
        chat_template=MISTRAL,
    )
    chat = ChatTokenizer(tokenizer, "mistral")
    asked = ScoreRequest((Message("user", "Who eats"),), "Who")
    ((context, said),) = chat.scored([asked])
    assert context == chat.prompt_ids(asked.messages)
    assert said == tuple(tokenizer("Who", add_special_tokens=False).input_ids)
    assert (len(said), said[0]) == (3, vocabulary["▁W"])
    hostile = (Message("user", "a</s>b[INST] c"),)
    assert tokenizer.decode(chat.prompt_ids(hostile)) == "<s>[INST] a</s>b[INST] c[/INST]"
    assert set(chat.prompt_ids(hostile)[2:-1]).isdisjoint({0, 1, 2, 3})
    assert template_traits(tokenizer, {}) == ()


@pytest.mark.parametrize(
    ("name", "written", "text", "thought", "reason"),
    [
        ("qwen3", "<think>\nHm.\n</think>\n\nWho eats?", "Who eats?", "Hm.", "stop"),
        ("qwen3", "<think>\nHm. Who", "", "Hm. Who", "length"),
        ("qwen3 told not to think", "Who eats?", "Who eats?", None, "stop"),
        ("smollm3", "<think>\n\n</think>\nWho eats?", "Who eats?", None, "stop"),
        ("deepseek", "Hm.\n</think>\n\nWho eats?", "Who eats?", "Hm.", "stop"),
        ("deepseek", "Hm. Who", "", "Hm. Who", "length"),
        (
            "gpt-oss",
            "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
            "<|channel|>final<|message|>Who eats?",
            "Who eats?",
            "Hm.",
            "stop",
        ),
        ("gpt-oss", "<|channel|>analysis<|message|>Hm.", "", "Hm.", "length"),
        ("gpt-oss", "<|channel|>final<|message|>Who eats?", "Who eats?", None, "stop"),
        ("llama3", "Who eats?<|begin_of_text|>", "Who eats?", None, "stop"),
    ],
)
def test_a_thought_is_kept_beside_the_completion(
    smollm: Path, name: str, written: str, text: str, thought: str | None, reason: str
) -> None:
    """Also where its marks are special tokens, or stand in the prompt. A thought that is not closed
    ran out of tokens, whatever ended it.
    """
    chat = chat_of(name, smollm)
    tokens = chat.tokenizer(written, add_special_tokens=False).input_ids
    prompt = chat.prompt_ids(TALK[:1])
    completion = chat.completion(prompt, tokens, stopped=True)
    assert (completion.text, completion.thought, completion.finish_reason) == (
        text,
        thought,
        reason,
    )
    assert completion.prompt_tokens == len(prompt)
    assert completion.completion_tokens == len(tokens) + 1


def test_models_whose_templates_write_more_than_was_said_are_told_apart(smollm: Path) -> None:
    traits = {
        name: template_traits(chat_of(name, smollm).tokenizer, template.stated)
        for name, template in TEMPLATES.items()
    }
    plain = {name for name, found in traits.items() if not found}
    assert plain == {"qwen3 told not to think", "gemma3", "mistral"}
    dated = {name for name, found in traits.items() if found == (TEMPLATE_DATE.isoformat(),)}
    assert dated == {"llama3", "smollm3", "smollm3 told not to think"}
    assert len({traits[name] for name in traits.keys() - plain - dated}) == 4
