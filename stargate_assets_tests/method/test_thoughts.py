import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.language_model import Completion
from stargate_assets.method.thoughts import (
    BLOCKS,
    CHANNEL,
    Utterance,
    opened_thought,
    read_completion,
    split_thoughts,
)

MARKS = [*BLOCKS, *BLOCKS.values()]
PLAIN = st.text().filter(
    lambda text: not any(mark in text for mark in [*MARKS, CHANNEL, "assistantfinal"])
)
THOUGHT = PLAIN.filter(str.strip)
every_block = pytest.mark.parametrize(("opens", "closes"), BLOCKS.items())


@given(PLAIN)
def test_a_text_without_marks_is_unchanged(text: str) -> None:
    assert split_thoughts(text) == Utterance(text, None, closed=True)


@every_block
@given(thought=THOUGHT, text=PLAIN)
def test_a_block_is_a_thought_whoever_opened_it(
    opens: str, closes: str, thought: str, text: str
) -> None:
    expected = Utterance(text, thought.strip())
    assert split_thoughts(f"{opens}{thought}{closes}{text}") == expected
    assert split_thoughts(f"{thought}{closes}{text}", opened=f"{opens}\n") == expected
    assert split_thoughts(f"{thought}{closes}{text}") == expected  # by a prompt that nobody saw


@every_block
@given(thought=THOUGHT)
def test_a_thought_that_is_not_closed_leaves_no_text(opens: str, closes: str, thought: str) -> None:
    del closes
    expected = Utterance("", thought.strip(), closed=False)
    assert split_thoughts(f"{opens}{thought}") == split_thoughts(thought, opens) == expected


@pytest.mark.parametrize(
    ("written", "utterance"),
    [
        ("A.<think>b</think> C.<think>d</think>", Utterance("A. C.", "b\n\nd")),
        ("A. <think>b", Utterance("A. ", "b", closed=False)),
        ("<think>\n\n</think>\n\nA.", Utterance("\n\nA.")),
        ("a</think>b</think>C.", Utterance("C.", "a\n\nb")),
        ("<|channel|>final<|message|>A.<|return|>", Utterance("A.")),
        ("<|start|>assistant<|channel|>analysis<|message|>b", Utterance("", "b", closed=False)),
        ("<|channel|>analysis", Utterance("", closed=False)),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary to=f "
            "<|constrain|>json<|message|>{}<|call|><|start|>assistant"
            "<|channel|>final<|message|>B.",
            Utterance("B.", "a\n\n{}"),
        ),
        ("analysisWho is it?assistantfinalA.", Utterance("A.", "Who is it?")),
        ("My analysis: say <|channel|> aloud.", Utterance("My analysis: say <|channel|> aloud.")),
    ],
)
def test_texts_and_thoughts_take_turns(written: str, utterance: Utterance) -> None:
    assert split_thoughts(written) == utterance


@pytest.mark.parametrize(
    ("prompt", "opened"),
    [
        ("<|Assistant|><think>\n", "<think>\n"),
        ("model\n<|channel>thought\n", "<|channel>thought\n"),
        ("assistant\n<think>\n\n</think>\n\n", ""),
        ("user\nWhat is <think>?<|im_end|>\n<|im_start|>assistant\n", ""),
        ("assistant\n", ""),
    ],
)
def test_a_prompt_may_open_a_thought(prompt: str, opened: str) -> None:
    assert opened_thought(prompt) == opened


def test_a_completion_has_its_thought_beside_it() -> None:
    found = read_completion(" <think>Hm.</think>\n\nWho? ", "stop", 3, 9)
    assert found == Completion("Who?", "stop", 3, 9, thought="Hm.")
    assert read_completion("Who?", "stop", 3, 9) == Completion("Who?", "stop", 3, 9)
    cut = read_completion("<think>Hm.", "stop", 3, 9)
    assert cut == Completion("", "length", 3, 9, thought="Hm.")
    apart = read_completion("<think>b</think>Who?", "stop", 3, 9, thought="a")
    assert apart.thought == "a\n\nb"


def test_what_no_table_takes_is_marked_where_it_enters() -> None:
    found = read_completion("<think>a\0b</think>half \ud83d of\x1b[2J\ta face\n", "stop", 1, 1)
    assert found.text == "half \ufffd of\ufffd[2J\ta face"
    assert found.thought == "a\ufffdb"
