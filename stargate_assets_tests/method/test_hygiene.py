import pytest

from stargate_assets.method.hygiene import Fault, fault, names_in_tasks, repeated_texts


@pytest.mark.parametrize(
    "text",
    [
        "What now?",
        "ماذا أطبخ اليوم؟",
        "今天吃什么？",
        "👩‍👩‍👧 dinner?",
        "a\tb\nc\r\nd",
        "one\u0085two",
        "\u200fשלום",
    ],
)
def test_every_language_is_fine_as_it_is(text: str) -> None:
    assert fault("text", text) is None


@pytest.mark.parametrize(
    ("field", "text", "reason", "message"),
    [
        ("text", " \n", "empty", "must be text; add it"),
        ("text", "ab\x07c", "control_character", "U+0007 as its character 3; remove it"),
        ("text", "\x00", "control_character", "U+0000 as its character 1"),
        ("text", "a\x9fb", "control_character", "U+009F as its character 2"),
        ("text", "what\ud83d?", "lone_surrogate", "half of a surrogate pair as its character 5"),
        ("text", "caf\ufffd", "replacement_mark", "wrong decoding; restore it"),
        ("name", "n" * 81, "too_long", "has 81 characters, 80 at most; shorten it"),
        ("text", "n" * 8001, "too_long", "has 8001 characters, 8000 at most"),
    ],
)
def test_what_cannot_be_used_is_said(field: str, text: str, reason: str, message: str) -> None:
    found = fault(field, text)
    assert isinstance(found, Fault)
    assert found.reason == reason
    assert message in found.message


def test_the_same_text_is_found_whatever_its_dress() -> None:
    texts = ["Where to?", "café!", "WHERE  to", "Cafe\u0301", "Where two?", "??", "!!"]
    assert list(repeated_texts(texts)) == [(0, 2), (1, 3)]


def test_a_name_in_a_task_is_found_as_a_word_in_its_case() -> None:
    tasks = ["Will my savings last?", "How do I tell Will?", "Anna-Lena is late.", "我和小明吃什么"]
    names = ["Will", "Lena", "Ann", "小明", "Mia", "علي"]
    assert list(names_in_tasks(names, tasks)) == [(0, 0), (0, 1), (1, 2), (3, 3)]


def test_an_arabic_name_inside_a_word_is_not_that_name() -> None:
    assert list(names_in_tasks(["علي"], ["ماذا عليها؟"])) == []
    assert list(names_in_tasks(["علي"], ["ماذا يحب علي؟"])) == [(0, 0)]
