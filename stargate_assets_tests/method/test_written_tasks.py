"""Tasks that a model writes: what is read, what is refused, and what is asked for again."""

from collections.abc import Sequence

import pytest

from stargate_assets.method.language_model import Sampling
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.written_tasks import (
    TaskRefusal,
    WrittenTask,
    WrittenTasks,
    write_tasks,
)
from stargate_assets_tests.method.people import ScriptedModel
from stargate_assets_tests.method.test_personas import Writer

EXAMPLES = [
    WrittenTask("What should I cook tonight?", "specific", "food"),
    WrittenTask("How do I boil an egg?", "general", "food"),
]


def write(
    model: Writer | ScriptedModel,
    size: int = 1,
    attempts: int = 1,
    domains: Sequence[str] = ("travel",),
    examples: Sequence[WrittenTask] = EXAMPLES,
) -> WrittenTasks:
    return write_tasks(
        model,
        examples,
        domains,
        size,
        names=["Mira"],
        same="marks",
        seed=0,
        attempts=attempts,
        sampling=Sampling(99, 1.0),
        prompts=SHIPPED,
    )


def test_a_line_is_a_task_with_its_kind() -> None:
    said = "1. specific: Where should I  go in May?\n\n- General: What may I carry on board?"
    assert write(Writer(said), 2).tasks == [
        WrittenTask("Where should I go in May?", "specific", "travel"),
        WrittenTask("What may I carry on board?", "general", "travel"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Where should I go?", TaskRefusal.NO_KIND),
        ("special: Where should I go?", TaskRefusal.NO_KIND),
        ("specific:", TaskRefusal.NO_KIND),
        ("specific: Where \x07 to?", TaskRefusal.NOT_TEXT),
        ("specific: Where should Mira go?", TaskRefusal.NAME_OF_A_PERSONA),
        ("specific: what should I cook tonight", TaskRefusal.EXAMPLE_COPIED),
        ("general: Which train do I take to Oslo!", TaskRefusal.REPEATED),
        ("specific: Which train do I take to Oslo now?", TaskRefusal.NEAR_DUPLICATE),
    ],
)
def test_what_breaks_a_rule_is_refused_and_counted(line: str, reason: TaskRefusal) -> None:
    written = write(Writer(f"specific: Which train do I take to Oslo?\n{line}"), 2)
    assert len(written.tasks) == 1
    assert written.refusals == [("travel", 0, reason)]


def test_more_than_was_asked_for_is_counted() -> None:
    written = write(Writer("specific: Where to?\ngeneral: Is a visa needed?"))
    assert [task.text for task in written.tasks] == ["Where to?"]
    assert written.refusals == [("travel", 0, TaskRefusal.NOT_ASKED_FOR)]


def test_the_line_that_was_broken_off_is_no_task() -> None:
    said = "specific: Where to?\ngeneral: Is a vi"
    written = write(Writer(said, finish="length"), 2)
    assert [task.text for task in written.tasks] == ["Where to?"]
    assert written.refusals == [("travel", 0, TaskRefusal.TRUNCATED)]


def test_a_refusal_is_counted() -> None:
    assert write(Writer("No.", finish="refused")).refusals == [("travel", 0, TaskRefusal.REFUSED)]


def test_what_is_missing_is_asked_for_again_with_another_seed() -> None:
    writer = Writer("?", "specific: Where to?")
    assert len(write(writer, attempts=9).tasks) == 1
    assert len({request.seed for request in writer.requests}) == len(writer.requests) == 2


def test_domains_have_as_many_and_the_order_of_the_examples_changes_nothing() -> None:
    one = write(ScriptedModel(), 25, 2, ("travel", "food"))
    assert one == write(ScriptedModel(), 25, 2, ("travel", "food"), EXAMPLES[::-1])
    assert [task.domain for task in one.tasks] == ["travel"] * 13 + ["food"] * 12
    assert {task.kind for task in one.tasks} == {"specific", "general"}
