"""The data sets that are shipped keep what their cards promise."""

import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from stargate_assets.definitions.project import load_project
from stargate_assets.method.hygiene import names_in_tasks
from stargate_assets.method.text import mentions, near_duplicates, sentences
from stargate_assets.pipeline.sources.tables import Tables, read_tables
from stargate_assets_tests.conftest import ROOT

EVERYDAY = ROOT / "stargate_assets" / "defs" / "everyday"
SPLITS = ["train_a", "train_b", "test"]


def records(path: Path) -> list[dict[str, str | int]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def everyday() -> Tables:
    return read_tables(load_project().data_sets["everyday"])


@pytest.fixture(scope="module")
def people() -> list[dict[str, str | int]]:
    return records(EVERYDAY / "personas.jsonl") + records(EVERYDAY / "seed_personas.jsonl")


def test_everyday_has_the_scale_of_the_paper(everyday: Tables) -> None:
    assert everyday.personas
    assert [everyday.tasks.of(split).height for split in SPLITS] == [250, 250, 50]
    assert [everyday.personas.of(split).height for split in SPLITS] == [50, 50, 10]
    assert len(records(EVERYDAY / "seed_personas.jsonl")) == 21


def test_tasks_are_spread_evenly_over_domains_and_a_fifth_is_general(everyday: Tables) -> None:
    for split in SPLITS:
        tasks = everyday.tasks.of(split)
        counts = Counter(tasks["domain"])
        assert len(counts) == 12
        assert max(counts.values()) - min(counts.values()) <= 1
        assert 0.18 <= tasks.filter(kind="general").height / tasks.height <= 0.25


def test_tasks_are_short_and_worded_in_many_ways(everyday: Tables) -> None:
    texts = everyday.tasks.frame["text"].to_list()
    assert max(len(text.split()) for text in texts) <= 30
    openings = Counter(" ".join(text.casefold().split()[:2]) for text in texts)
    assert max(openings.values()) <= len(texts) * 0.03
    questions = sum(text.endswith("?") for text in texts) / len(texts)
    assert 0.4 < questions < 0.8


def test_personas_are_of_all_ages_countries_and_trades(people: list[dict[str, str | int]]) -> None:
    ages = [int(person["age"]) for person in people]
    assert min(ages) >= 16
    assert max(ages) <= 90
    by_decade = Counter(age // 10 for age in ages if age < 90)
    assert all(by_decade[decade] >= 8 for decade in range(1, 9))
    assert len({person["country"] for person in people}) >= 100
    assert len({person["occupation"] for person in people}) >= 100


def test_personas_have_distinct_names_and_under_ten_sentences(
    people: list[dict[str, str | int]],
) -> None:
    names = [str(person["name"]).casefold() for person in people]
    assert len(set(names)) == len(names) == 131
    for person in people:
        text = str(person["text"])
        assert 6 <= len(sentences(text)) < 10, text
        assert not mentions(text, str(person["name"]))


@pytest.mark.parametrize("file", ["tasks", "personas", "seed_personas"])
def test_nothing_is_nearly_the_same(file: str) -> None:
    assert near_duplicates([str(r["text"]) for r in records(EVERYDAY / f"{file}.jsonl")]) == []


def test_seeds_are_nobody_in_the_splits_and_no_name_stands_in_a_task(
    people: list[dict[str, str | int]], everyday: Tables
) -> None:
    names = [str(person["name"]) for person in people]
    assert list(names_in_tasks(names, everyday.tasks.frame["text"].to_list())) == []
    assert near_duplicates([str(person["text"]) for person in people]) == []


def test_the_card_has_the_figures_of_the_files(people: list[dict[str, str | int]]) -> None:
    card = (EVERYDAY / "README.md").read_text(encoding="utf-8")
    tasks = pl.DataFrame(records(EVERYDAY / "tasks.jsonl"))
    for domain in tasks["domain"].unique():
        of_domain = tasks.filter(domain=domain)
        counts = [of_domain.filter(split=split).height for split in SPLITS]
        general = of_domain.filter(kind="general").height
        row = " | ".join(map(str, (domain, *counts, general, of_domain.height)))
        assert f"| {row} |" in card
    questions = sum(text.endswith("?") for text in tasks["text"])
    assert f"{questions / tasks.height:.0%} end in a question mark" in card
    words = tasks["text"].str.split(" ").list.len()
    assert f"{words.min()} to {words.max()} words, median {words.median():.0f}" in card
    count = len({person["country"] for person in people})
    trades = len({person["occupation"] for person in people})
    assert f"{count} countries and {trades} occupations" in card
