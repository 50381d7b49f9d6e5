"""The small data sets that are shipped, and what is written about the people in them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from stargate_assets.config.data_set import DATA_TABLES
from stargate_assets.definitions.project import DEFS, load_project
from stargate_assets.method.conversation import Persona
from stargate_assets.method.facts import unheard_facts
from stargate_assets.method.hygiene import names_in_tasks
from stargate_assets.method.plan import SPLITS
from stargate_assets.method.text import near_duplicates, sentences
from stargate_assets.pipeline.assets.data_checks import (
    DataSlices,
    find_invalid,
    find_names_in_tasks,
    find_near_duplicates,
    find_pairs_without_row,
    find_repeats,
)
from stargate_assets.pipeline.sources.tables import Tables, read_tables
from stargate_assets.storage.warehouse import Warehouse
from stargate_assets_tests.runs.test_everyday import records

TASKS = (
    "everyday/tasks",
    "everyday_mini/tasks",
    "everyday_mini/general_tasks",
    "overnight/more_tasks",
)
PERSONAS = ("everyday/personas", "everyday/seed_personas", "everyday_mini/personas")
IMPERATIVES = {"give", "help", "please", "recommend", "suggest"}
"""How a request may begin that is no question."""


class Written(NamedTuple):
    """A gold response and whom it is for."""

    task: str
    person: Persona
    text: str
    people: list[Persona]
    """Those of the split."""


def read(name: str) -> Tables:
    return read_tables(load_project().data_sets[name])


def counts(tables: Tables) -> dict[str, list[int]]:
    """The rows of each table, by split."""
    return {
        table: [getattr(tables, table).of(split).height for split in SPLITS]
        for table in DATA_TABLES
    }


def written(tables: Tables) -> Iterator[Written]:
    """All gold responses of a data set."""
    assert tables.personas and tables.gold_responses
    texts = {row["task_id"]: row["text"] for row in tables.tasks.frame.iter_rows(named=True)}
    for split in SPLITS:
        columns = tables.personas.of(split).select("persona_id", "name", "text")
        people = [Persona(*row) for row in columns.iter_rows()]
        by_id = {person.persona_id: person for person in people}
        for row in tables.gold_responses.of(split).iter_rows(named=True):
            yield Written(texts[row["task_id"]], by_id[row["persona_id"]], row["text"], people)


def facts(about: Written, person: Persona) -> int:
    return len(unheard_facts(about.text, person, [about.task], about.people))


@pytest.fixture(scope="module")
def more() -> Tables:
    return read("everyday_more")


def test_every_pair_has_one_gold_response(more: Tables) -> None:
    assert counts(read("everyday_mini")) == {
        "tasks": [10, 10, 8],
        "personas": [4, 4, 4],
        "gold_responses": [40, 40, 32],
    }
    assert counts(more) == {
        "tasks": [10, 10, 13],
        "personas": [4, 4, 4],
        "gold_responses": [40, 40, 52],
    }


def test_everyday_more_trains_on_what_everyday_mini_trains_on(more: Tables) -> None:
    mini = read("everyday_mini")
    for split in ("train_a", "train_b"):
        assert more.tasks.of(split).equals(mini.tasks.of(split))
        assert more.gold_responses and mini.gold_responses
        assert more.gold_responses.of(split).equals(mini.gold_responses.of(split))


def test_the_slice_for_one_gpu_has_its_sizes_and_both_kinds_of_task() -> None:
    tables = read("everyday_one_gpu")
    assert tables.personas
    assert [tables.tasks.of(split).height for split in SPLITS] == [40, 40, 12]
    assert [tables.personas.of(split).height for split in SPLITS] == [5, 5, 8]
    for split in SPLITS:
        assert set(tables.tasks.of(split)["kind"]) == {"specific", "general"}


@pytest.mark.parametrize("name", ["everyday_more", "everyday_mini_general"])
def test_every_task_asks_for_something(name: str) -> None:
    for text in read(name).tasks.frame["text"]:
        assert text.endswith("?") or text.split()[0].casefold() in IMPERATIVES, text


def test_no_two_tasks_of_the_project_are_nearly_the_same_and_none_names_anybody() -> None:
    tasks = [str(record["text"]) for file in TASKS for record in records(DEFS / f"{file}.jsonl")]
    names = [str(record["name"]) for file in PERSONAS for record in records(DEFS / f"{file}.jsonl")]
    assert (len(tasks), len(names)) == (550 + 28 + 10 + 5, 110 + 21 + 12)
    assert near_duplicates(tasks) == []
    assert list(names_in_tasks(names, tasks)) == []


def test_gold_responses_name_their_person_and_say_what_is_true_of_nobody_else(
    more: Tables,
) -> None:
    for about in written(more):
        assert about.person.name in about.text
        assert 2 <= len(sentences(about.text)) <= 4
        others = [person for person in about.people if person != about.person]
        assert not any(other.name in about.text for other in others)
        most = max(facts(about, other) for other in others)
        assert facts(about, about.person) > 2 * most, about.text


def test_gold_responses_of_the_test_split_use_every_sentence_of_a_persona(more: Tables) -> None:
    assert more.personas
    used: dict[tuple[str, str], int] = {}
    for about in written(more):
        for said in sentences(about.person.text):
            one = Persona(about.person.persona_id, about.person.name, said)
            key = about.person.name, said
            used[key] = used.get(key, 0) + (facts(about, one) > 0)
    assert len(used) == 12 * 8
    tested = set(more.personas.of("test")["name"])
    assert min(times for (name, _), times in used.items() if name in tested) >= 3


def test_everyday_more_passes_the_checks_of_a_data_set(more: Tables, tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "stargate.duckdb")
    for table in DATA_TABLES:
        for split in SPLITS:
            rows = getattr(more, table).of(split)
            warehouse.write("everyday_more", table, {"split": split}, rows, "v")
    slices = DataSlices(warehouse, "everyday_more", "test")
    for table in DATA_TABLES:
        assert find_invalid(slices, table) == []
    for table in ("tasks", "personas"):
        assert find_repeats(slices, table) == find_near_duplicates(slices, table) == []
    assert find_names_in_tasks(slices) == find_pairs_without_row(slices) == []
