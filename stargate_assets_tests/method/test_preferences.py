"""Which questions of two conversations may be compared."""

from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.preferences import comparisons, preference
from stargate_assets.method.prompts import SHIPPED
from stargate_assets_tests.method.people import pair, talk

TURNS = st.lists(st.tuples(st.sampled_from("ab "), st.sampled_from("xy")), min_size=1, max_size=3)


def test_the_first_questions_are_compared_after_the_task_alone() -> None:
    found = preference(talk(("Who?", "I"), ("Why?", "so")), talk(("Where?", "here")), SHIPPED)
    assert found is not None
    assert (found.chosen.content, found.rejected.content, found.turn) == ("Who?", "Where?", 0)
    assert [message.role for message in found.prompt] == ["system", "user"]


def test_a_common_beginning_belongs_to_the_prompt() -> None:
    kept, rejected = talk(("Who?", "I"), ("Why?", "so")), talk(("Who?", "I"), ("When?", "now"))
    found = preference(kept, rejected, SHIPPED)
    assert found is not None
    assert (found.chosen.content, found.rejected.content, found.turn) == ("Why?", "When?", 1)
    assert found.prompt == SHIPPED.questioner_messages(talk(("Who?", "I")))


def test_what_followed_another_reply_is_not_compared() -> None:
    kept, rejected = talk(("Who?", "I"), ("Why?", "so")), talk(("Who?", "We"), ("When?", "now"))
    assert preference(kept, rejected, SHIPPED) is None


def test_nothing_said_is_no_completion() -> None:
    assert preference(talk(("Who?", "I")), talk((" ", "")), SHIPPED) is None


def test_each_rejected_conversation_is_compared_with_every_kept_one_of_its_pair() -> None:
    kept = [talk((text, "I"), sample=i) for i, text in enumerate(("Who?", "Why?"))]
    rejected = [talk((text, "so"), sample=i) for i, text in ((2, "Who?"), (3, "Where?"))]
    elsewhere = talk(("Where?", "here"), of=pair("Another task?"))
    found = list(comparisons(kept, [*rejected, elsewhere], SHIPPED))
    assert [(c.kept.sample, c.rejected.sample) for c in found] == [(0, 2), (1, 2), (0, 3), (1, 3)]
    assert [c.preference is None for c in found] == [True, False, False, False]


@given(TURNS, TURNS)
def test_a_preference_ends_with_a_user_turn_and_compares_what_differs(
    one: list[tuple[str, str]], other: list[tuple[str, str]]
) -> None:
    found = preference(talk(*one), talk(*other), SHIPPED)
    if found is not None:
        assert found.prompt[-1].role == "user"
        assert found.chosen != found.rejected
        assert one[: found.turn] == other[: found.turn]
        assert found.chosen.content == one[found.turn][0]
        back = preference(talk(*other), talk(*one), SHIPPED)
        assert back is not None
        assert (back.prompt, back.chosen, back.rejected) == (
            found.prompt,
            found.rejected,
            found.chosen,
        )
