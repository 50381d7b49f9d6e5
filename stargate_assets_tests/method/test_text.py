import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.text import runs, sentences, words

PROSE = st.text("ab .!?。？\"')”\n", max_size=40)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I bake. Do you? Yes!", ["I bake.", "Do you?", "Yes!"]),
        ("It costs 3.50 a loaf.", ["It costs 3.50 a loaf."]),
        ("one line\nanother\n\nthird", ["one line", "another", "third"]),
        ("私はパン屋です。あなたは？はい。", ["私はパン屋です。", "あなたは？", "はい。"]),
        ("no end", ["no end"]),
        (" \n ", []),
        ('She said "no." Then she left.', ['She said "no."', "Then she left."]),
    ],
)
def test_sentences_end_at_marks_and_line_ends(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@given(PROSE)
def test_splitting_into_sentences_loses_nothing_but_white_space(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't STOP, he’s here!", ["don't", "stop", "he’s", "here"]),
        ("at 7 o'clock", ["at", "7", "o'clock"]),
        ("... — !", []),
    ],
)
def test_words_are_folded_and_keep_their_apostrophes(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_runs_do_not_reach_from_one_sentence_into_the_next() -> None:
    assert runs("Tell me. My name is Ana.", 3) == {("my", "name", "is"), ("name", "is", "ana")}


def test_runs_are_every_stretch_of_that_many_words() -> None:
    assert runs("I bake, bread I", 2) == {("i", "bake"), ("bake", "bread"), ("bread", "i")}
    assert runs("I bake", 3) == set()
