import pytest

from stargate_assets.method.conversation import Conversation, is_question, question_rate
from stargate_assets_tests.method.people import pair


@pytest.mark.parametrize(
    ("utterance", "asks"),
    [
        ("What do you do?", True),
        ("I see. What do you do? \n", True),
        ('Would you say "yes?"', True),
        ("**What do you do?**", True),
        ("お仕事は何ですか？", True),
        ("ماذا تعمل؟", True),
        ("What do you do? I bake.", False),
        ("Tell me more.", False),
        ("", False),
    ],
)
def test_a_question_is_what_ends_by_asking(utterance: str, asks: bool) -> None:
    assert is_question(utterance) is asks


def test_the_question_rate_is_the_share_of_turns_that_ask() -> None:
    assert question_rate(("Who?", "I see.", "Why?", "No.")) == 0.5


def test_a_conversation_grows_by_copies() -> None:
    """Samples of a pair start from the same object, so a turn must not change it."""
    start = Conversation(pair(), 3)
    cut = start.with_question("What do", truncated=True)
    done = cut.with_answer("Bread.").with_question("Where?", truncated=False)
    assert (start.questions, start.answers, cut.answers) == ((), (), ())
    assert done.questions == ("What do", "Where?")
    assert done.truncated == (True, False)
    assert done.answers == ("Bread.",)
    assert done.sample == 3
