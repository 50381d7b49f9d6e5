"""Facts that nobody said, by value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.conversation import Conversation, Pair, Persona, Task, another_persona
from stargate_assets.method.facts import respondent_texts, unheard_facts
from stargate_assets.method.text import words

INEKE = Persona(
    "p0", "Ineke", "I repair church organs in Groningen. I have 3 cats and like parties."
)
JUN = Persona("p1", "Jun", "I left a bank in Osaka to grow tea. My cat sleeps. Church is far.")
PEOPLE = [INEKE, JUN]


@pytest.mark.parametrize(
    ("response", "heard", "found"),
    [
        ("You could visit GRONINGEN.", [], {"groningen"}),
        ("You could visit Groningen.", ["Where? In Groningen."], set()),
        ("An organ needs care.", [], {"organ"}),
        ("Your organs' care, and the organ's.", ["the organ"], set()),
        ("A party would help.", [], {"parti"}),
        ("Go to church with your cat.", [], set()),  # Jun's words too
        ("Ineke, you ate it.", [], set()),  # her name, and a short word
        ("Feed all 3 of them.", [], {"3"}),
        ("Do this:\n1. sleep\n3. eat", [], set()),  # numbers of a list
        ("", [], set()),
    ],
)
def test_a_fact_is_the_person_s_own_and_was_not_said(
    response: str, heard: list[str], found: set[str]
) -> None:
    assert unheard_facts(response, INEKE, heard, PEOPLE) == found


def test_words_without_spaces_are_facts_by_runs_of_letters() -> None:
    organs = Persona("p0", "伊内克", "我在格罗宁根修理管风琴")
    other = Persona("p1", "纯", "我离开大阪的银行种茶")
    assert unheard_facts("去格罗宁根吧", organs, [], [organs, other]) == {"格罗宁根"}
    assert unheard_facts("去格罗宁根吧", organs, ["我住格罗宁根市"], [organs, other]) == set()
    assert unheard_facts("去大阪吧", organs, [], [organs, other]) == set()


@given(
    persona=st.text(),
    other=st.text(),
    heard=st.lists(st.text()),
    draw=st.data(),
)
def test_a_response_of_heard_words_states_nothing_unheard(
    persona: str, other: str, heard: list[str], draw: st.DataObject
) -> None:
    known = [word for text in heard for word in words(text)]
    said = draw.draw(st.lists(st.sampled_from(known))) if known else []
    people = [Persona("p0", "A", persona), Persona("p1", "B", other)]
    assert unheard_facts(" ".join(said), people[0], heard, people) == set()


def test_what_was_heard_is_the_task_the_name_and_every_turn() -> None:
    pair = Pair(Task("t", "How do I rest?"), INEKE)
    talk = Conversation(pair, 0).with_question("Where?", False).with_answer("At home.")
    assert respondent_texts(talk) == ["How do I rest?", "Ineke", "Where?", "At home."]


def test_somebody_else_is_drawn_by_key_whatever_the_order() -> None:
    people = [Persona(f"p{i}", str(i), "") for i in range(6)]
    drawn = [another_persona(people[0], people, "facts", i) for i in range(40)]
    assert set(drawn) == set(people[1:])
    assert drawn == [another_persona(people[0], people[::-1], "facts", i) for i in range(40)]
    assert another_persona(people[0], people[:1], "facts") is None
