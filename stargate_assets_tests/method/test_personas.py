from collections.abc import Sequence

import pytest

from stargate_assets.method.conversation import Persona
from stargate_assets.method.keys import text_id
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    FinishReason,
    Sampling,
    Score,
    ScoreRequest,
)
from stargate_assets.method.personas import GeneratedPersonas, Refusal, generate_personas
from stargate_assets.method.prompts import SHIPPED
from stargate_assets_tests.method.people import ScriptedModel

FACTS = ("bakes bread at night", "keeps four goats", "sings in the tram", "dreads long stairs")


def person(name: str, number: int) -> Persona:
    text = " ".join(f"I am somebody who {fact} in the year {number}." for fact in FACTS)
    return Persona(text_id(name, text), name, text)


EXAMPLES = [person("Ana", 1), person("Bo", 2), person("Cem", 3)]
TEXT = "I mend nets. My brother owes me money. Loud rooms make me ill. I want to see snow."
OTHER = "Trams are my work. I own a parrot. Two flights of stairs tire me. I save for a boat."


class Writer:
    """Writes what it is told to, in the order of its requests, and remembers them."""

    def __init__(self, *texts: str, finish: FinishReason = "stop"):
        self.texts, self.finish = iter(texts), finish
        self.requests: list[ChatRequest] = []

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]:
        self.requests += requests
        finish: FinishReason = self.finish
        return [Completion(next(self.texts), finish, 0, 0) for _ in requests]

    def score(self, requests: Sequence[ScoreRequest], doing: str) -> list[Score]:
        raise NotImplementedError


def generate(
    model: Writer | ScriptedModel, count: int = 1, attempts: int = 1, tasks: Sequence[str] = ()
) -> GeneratedPersonas:
    sampling = Sampling(99, 1.0)
    return generate_personas(
        model,
        EXAMPLES,
        tasks,
        {"test": count},
        seed=0,
        attempts=attempts,
        sampling=sampling,
        prompts=SHIPPED,
    )


def test_a_persona_is_a_name_and_what_it_says() -> None:
    (persona,) = generate(Writer(f"Name: Dilnoza\n\n{TEXT}\n")).personas["test"]
    assert (persona.name, persona.text) == ("Dilnoza", TEXT)
    assert persona.persona_id == text_id("Dilnoza", TEXT)


@pytest.mark.parametrize(
    "name", ["José María", "Nguyễn", "小明", "O'Brien", "Anna-Lena", "**Zoë**"]
)
def test_names_of_many_places_are_found(name: str) -> None:
    (persona,) = generate(Writer(f"Name: {name}\n{TEXT}")).personas["test"]
    assert persona.name == name.strip("*")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TEXT, Refusal.NO_NAME),
        (f"My name is Dilnoza.\n{TEXT}", Refusal.NO_NAME),
        (f"Name: a fisher who mends\n{TEXT}", Refusal.NO_NAME),
        (f"Name: Dilnoza, 44\n{TEXT}", Refusal.NO_NAME),
        ("Name: Dilnoza\n", Refusal.NO_NAME),
        (f"Name: Dilnoza\nMy name is Petra. {TEXT}", Refusal.ANOTHER_NAME),
        (f"Name: Dilnoza\n{TEXT}\nName: Petra\n{OTHER}", Refusal.MORE_THAN_ONE_PERSONA),
        (f"Name: Dilnoza\n{TEXT}\nPerson 2: {OTHER}", Refusal.MORE_THAN_ONE_PERSONA),
        ("Name: Dilnoza\nI mend nets. I sing.", Refusal.TOO_SHORT),
        ("Name: Dilnoza\n" + "I mend nets. " * 4, Refusal.REPETITIVE),
        ("Name: Dilnoza\nI \x07 mend. I sing. I sew.", Refusal.NOT_TEXT),
        (f"Name: Dilnoza\n{TEXT} I am somebody who keeps four goats in the year 1.",
         Refusal.EXAMPLE_COPIED),
        (f"Name: ANA\n{TEXT}", Refusal.NAME_TAKEN),
        (f"Name: Mira\n{TEXT}", Refusal.NAME_IN_A_TASK),
    ],
)  # fmt: skip
def test_what_breaks_a_rule_is_refused(text: str, reason: Refusal) -> None:
    # Both examples are shown; the copied sentence is from the first.
    refused = {
        generate_personas(
            Writer(text),
            EXAMPLES[:2],
            ["What does Mira need?"],
            {"test": 1},
            seed=0,
            attempts=1,
            sampling=Sampling(99, 1.0),
            prompts=SHIPPED,
        ).refusals[0]
    }
    assert refused == {("test", 0, 0, reason)}


def test_what_was_cut_off_is_refused() -> None:
    written = generate(Writer(f"Name: Dilnoza\n{TEXT}", finish="length"))
    assert written.refusals == [("test", 0, 0, Refusal.TRUNCATED)]


@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_persona_is_at_most_nine_sentences(finish: FinishReason) -> None:
    said = [f"I own boat {number}." for number in range(12)]
    writer = Writer(f"Name: Dilnoza\n{' '.join(said)}\nName: Petra\nI", finish=finish)
    (persona,) = generate(writer).personas["test"]
    assert persona.text == " ".join(said[:9])


def test_nobody_is_written_twice_and_the_refused_are_asked_for_again() -> None:
    first, again = f"Name: Dilnoza\n{TEXT}", f"Name: Petra\n{TEXT[:-1]}!"
    writer = Writer(first, again, f"Name: Dilnoza\n{OTHER}", f"Name: Petra\n{OTHER}")
    written = generate(writer, count=2, attempts=9)
    assert [persona.name for persona in written.personas["test"]] == ["Dilnoza", "Petra"]
    assert written.refusals == [
        ("test", 1, 0, Refusal.NEAR_DUPLICATE),
        ("test", 1, 1, Refusal.NAME_TAKEN),
    ]
    assert len({request.seed for request in writer.requests}) == len(writer.requests) == 4


def test_attempts_are_bounded_and_who_is_missing_has_a_reason_each_time() -> None:
    written = generate(Writer(*["?"] * 3), attempts=3)
    assert written.personas == {"test": []}
    assert [attempt for _, _, attempt, _ in written.refusals] == [0, 1, 2]


def test_two_examples_are_shown_drawn_by_key() -> None:
    model = ScriptedModel()
    sizes = {"train_a": 4, "train_b": 4, "test": 4}
    written = generate_personas(
        model, EXAMPLES, [], sizes, seed=0, attempts=1, sampling=Sampling(99, 1.0), prompts=SHIPPED
    )
    assert {split: len(people) for split, people in written.personas.items()} == sizes
    shown = [
        tuple(m.content for m in request.messages if m.role == "assistant")
        for request in model.chats[0]
    ]
    assert all(len(set(pair)) == 2 for pair in shown)
    # Fault 9: the splits saw the same examples, because they had the same seed.
    assert len({tuple(shown[i : i + 4]) for i in (0, 4, 8)}) == 3


def test_the_order_of_the_examples_changes_nothing() -> None:
    one, other = (
        generate_personas(
            ScriptedModel(),
            people,
            [],
            {"test": 3},
            seed=0,
            attempts=1,
            sampling=Sampling(9, 1.0),
            prompts=SHIPPED,
        )
        for people in (EXAMPLES, EXAMPLES[::-1])
    )
    assert one == other
