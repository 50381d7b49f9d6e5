from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.text import (
    NEAR_DUPLICATE,
    first_sentences,
    near_duplicates,
    readdress,
    runs,
    script,
    sentences,
    shingles,
    similarity,
    without_marks,
    words,
    words_alone,
)

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


@given(PROSE, st.integers(1, 5))
def test_the_first_sentences_are_the_text_up_to_there(text: str, most: int) -> None:
    kept = first_sentences(text, most, broken_off=False)
    assert kept is not None
    assert sentences(kept) == sentences(text)[:most]
    assert text.strip().startswith(kept)


def test_a_text_that_was_broken_off_has_too_few_sentences_or_enough() -> None:
    assert first_sentences("One. Two. Thr", 3, broken_off=True) is None
    assert first_sentences("One.\n\nTwo. Thr", 2, broken_off=True) == "One.\n\nTwo."
    assert first_sentences("One. Two.", 2, broken_off=True) is None  # it was going on


@pytest.mark.parametrize(
    "same",
    [
        ("Where to?", "where  to", "“Where to...”", "(Where) to!"),
        ("Café!", "cafe\u0301"),
        ("«Ja», sí", "ja sí", "¡Ja, sí!", "— ja – sí"),
        ("I don’t — really", "I don't - really."),
        ("Is −20 °C cold?", "is -20 °C cold"),
        ("今天，吃什么？", "今天。吃什么"),
        ("ماذا، إذن؟", "ماذا إذن"),
    ],
)
def test_marks_that_cannot_change_what_a_text_says_make_no_other_text(same: Sequence[str]) -> None:
    assert len(set(map(without_marks, same))) == 1


@pytest.mark.parametrize(
    "different",
    [
        ("Learn C?", "Learn C#?", "Learn C++?"),
        ("Is 20 warm?", "Is -20 warm?", "Is +20 warm?", "Is 20 % warm?", "Is 20' warm?"),
        ("1.5", "1,5", "15", "1/5", "1-5", "1 5", "1:5"),
        ("Blood O-?", "Blood O+?", "Blood O?"),
        ("What is 5!", "What is 5?"),
        ("NET", ".NET", "N.ET"),
        ("(2+3)*4", "2+3*4"),
        ("a = b", "a != b"),
        ("we're", "were", "we re"),
        ("R&D", "R D"),
        ("$5", "€5", "5"),
        ("3．5", "3，5", "35"),
        ("?!", "!!"),
    ],
)
def test_what_can_change_the_meaning_makes_another_text(different: Sequence[str]) -> None:
    assert len(set(map(without_marks, different))) == len(different)


@given(st.text())
def test_a_text_without_marks_has_no_more_to_take(text: str) -> None:
    assert without_marks(text) == without_marks(f" {text}\n")
    assert without_marks(text) or not text.strip()


TEXTS = st.lists(st.text(alphabet="ab ?ü", max_size=30), max_size=12)


@given(TEXTS)
def test_near_duplicates_are_all_that_comparing_every_pair_finds(texts: list[str]) -> None:
    sets = [shingles(text) for text in texts]
    every = [
        (i, j, similarity(sets[i], sets[j]))
        for i in range(len(texts))
        for j in range(i + 1, len(texts))
        if similarity(sets[i], sets[j]) >= NEAR_DUPLICATE
    ]
    assert near_duplicates(texts) == every


def test_near_duplicates_with_a_common_opening_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few texts make a shingle common: the result is the same."""
    texts = [f"Please help me with {n * n} and {n % 7}." for n in range(60)]
    every = near_duplicates(texts)
    assert len(every) > 100
    monkeypatch.setattr("stargate_assets.method.text.COMMON", 3)
    assert near_duplicates(texts) == every


def test_words_alone_are_the_looser_rule() -> None:
    assert words_alone("How do I learn C#?") == words_alone("how do I learn - C")
    assert words_alone("Is -20 warm?") == words_alone("Is 20 warm?")
    assert words_alone("?!") != words_alone("!?")


def test_a_paraphrase_is_no_near_duplicate_and_a_typing_error_is_one() -> None:
    task = "Which kind of exercise should I take up this month?"
    assert near_duplicates([task, "Which kind of exercize should I take up this month?"])
    assert not near_duplicates([task, "What sport could I start in the coming weeks?"])


@pytest.mark.parametrize(
    ("text", "name"),
    [("What now? 今", "latin"), ("ماذا؟", "arabic"), ("今天吃什么", "cjk"), ("👍 12", "")],
)
def test_the_script_of_most_letters(text: str, name: str) -> None:
    assert script(text) == name


@pytest.mark.parametrize(
    ("text", "name", "to", "readdressed_"),
    [
        ("Ana, take Ana's bread to Anatolia.", "Ana", "Bo", "Bo, take Bo's bread to Anatolia."),
        ("Maria Lopez, rest. Maria!", "Maria Lopez", "Bo Li", "Bo Li, rest. Bo!"),
        ("Bo, rest with Li.", "Bo Li", "Li Bo", "Li, rest with Li."),
        ("田中さん、休んで。", "田中", "Bo", "Boさん、休んで。"),
        ("Rest.", "Ana", r"B\1", "Rest."),
        ("Ana, rest.", "Ana", r"B\1", r"B\1, rest."),
    ],
)
def test_a_text_can_call_somebody_else(text: str, name: str, to: str, readdressed_: str) -> None:
    assert readdress(text, name, to) == readdressed_
