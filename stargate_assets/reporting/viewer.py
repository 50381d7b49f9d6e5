"""The data of the page's conversation viewer. A pair is in it with all its conversations or with
none, so that policies can be compared on it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from stargate_assets.method.keys import derive_seed
from stargate_assets.reporting.tables import ExperimentTables

MOST_CONVERSATIONS = 5000
"""Conversations of an experiment in a page, which so stays a few megabytes."""
PAIR = ("split", "task_id", "persona_id")
Row = dict[str, Any]


@dataclass
class _Texts:
    """The texts of tasks, personas and pairs, each stored once and referred to by its number."""

    tasks: list[list[str | None]] = field(default_factory=list)
    personas: list[list[str]] = field(default_factory=list)
    pairs: list[list[int | str | None]] = field(default_factory=list)
    numbers: dict[tuple[str, ...], int] = field(default_factory=dict)

    def number(self, key: tuple[str, ...], table: list[Any], row: list[Any]) -> int:
        """The number of `key` in `table`, to which `row` is added when the key is new."""
        if key not in self.numbers:
            self.numbers[key] = len(table)
            table.append(row)
        return self.numbers[key]


def viewer_data(experiments: Sequence[ExperimentTables]) -> dict[str, Any]:
    """What viewer.js reads: rows as arrays, in the order of its constants."""
    texts = _Texts()
    conversations: list[list[Any]] = []
    responses: list[list[Any]] = []
    totals: list[list[int]] = []
    for number, tables in enumerate(experiments):
        every = tables.frame("conversations")
        shown = every.join(choose_pairs(every), on=PAIR, how="semi")
        totals.append([shown.height, every.height])
        pair_number = _number_pairs(texts, tables, shown)
        conversations += [
            [
                number,
                row["iteration"],
                pair_number[_pair_key(row)],
                row["sample"],
                row["log_prob"],
                row["status"],
                row["ineligibility"],
                row["questions"],
                row["answers"],
                row["roleplayer"],
            ]
            for row in _conversation_rows(tables, shown)
        ]
        responses += [
            [
                number,
                row["iteration"],
                pair_number[_pair_key(row)],
                row["arm"],
                row["sample"],
                row["text"],
                *(row[c] for c in ("verdict", "verdict_first", "verdict_second", "unscored")),
                row["preference"],
            ]
            for row in _response_rows(tables)
            if _pair_key(row) in pair_number
        ]
    return {
        "experiments": [tables.name for tables in experiments],
        "totals": totals,
        "tasks": texts.tasks,
        "personas": texts.personas,
        "pairs": texts.pairs,
        "conversations": conversations,
        "responses": responses,
    }


def choose_pairs(conversations: pl.DataFrame, most: int = MOST_CONVERSATIONS) -> pl.DataFrame:
    """Choose the pairs whose conversations the page shows: all pairs, or a random choice by key
    that has at most `most` conversations. Splits get equal parts, and what a small one leaves over
    goes to the others.
    """
    sizes = conversations.group_by(PAIR).len().sort(PAIR)
    by_split: dict[str, list[tuple[str, str, int]]] = {}
    for split, task, persona, size in sizes.iter_rows():
        by_split.setdefault(split, []).append((task, persona, size))
    kept: list[tuple[str, str, str]] = []
    room = most
    smallest_first = sorted(by_split.items(), key=lambda item: sum(p[2] for p in item[1]))
    for position, (split, pairs) in enumerate(smallest_first):
        share = room // (len(by_split) - position)
        for task, persona, size in sorted(pairs, key=lambda p: derive_seed(0, "shown", *p[:2])):
            if size > share:
                break
            kept.append((split, task, persona))
            share, room = share - size, room - size
    return pl.DataFrame(kept, schema=dict.fromkeys(PAIR, pl.String), orient="row")


def _number_pairs(
    texts: _Texts, tables: ExperimentTables, shown: pl.DataFrame
) -> Mapping[tuple[str, str, str], int]:
    """The number of each pair of the conversations `shown`; adds their texts to `texts`."""
    data = tables.experiment.data_set
    tasks = {
        row[0]: list(row[1:])
        for row in tables.frame("tasks").select("task_id", "text", "kind", "domain").iter_rows()
    }
    personas = {
        row[0]: [row[1] or "", row[2]]
        for row in tables.frame("personas").select("persona_id", "name", "text").iter_rows()
    }
    gold = {
        tuple(row[:3]): row[3]
        for row in tables.frame("gold_responses").select(*PAIR, "text").iter_rows()
    }
    numbers: dict[tuple[str, str, str], int] = {}
    for split, task, persona in shown.select(PAIR).unique().sort(PAIR).iter_rows():
        row = [
            texts.number((data, "task", task), texts.tasks, tasks[task]),
            texts.number((data, "persona", persona), texts.personas, personas[persona]),
            split,
            gold.get((split, task, persona)),
        ]
        key = (data, "pair", split, task, persona)
        numbers[split, task, persona] = texts.number(key, texts.pairs, row)
    return numbers


def _conversation_rows(tables: ExperimentTables, shown: pl.DataFrame) -> Iterable[Row]:
    """Conversations with their score, and `status`: kept, rejected, eligible (where nothing is
    selected), or ineligible.
    """
    cell, key = ["iteration", "split"], ["iteration", *PAIR, "sample"]
    scores = tables.frame("gold_log_probs").filter(pl.col("condition") == "experimental")
    best = tables.frame("best_conversations")
    status = (
        pl.when(pl.col("ineligibility").is_not_null())
        .then(pl.lit("ineligible"))
        .when(pl.col("kept"))
        .then(pl.lit("kept"))
        .when(pl.col("selected_from"))
        .then(pl.lit("rejected"))
        .otherwise(pl.lit("eligible"))
    )
    return (
        shown.join(scores.select(*key, pl.col("log_prob").round(2)), on=key, how="left")
        .join(best.select(*key, kept=pl.lit(value=True)), on=key, how="left")
        .join(best.select(cell).unique().with_columns(selected_from=True), on=cell, how="left")
        .with_columns(status=status)
        .sort("iteration", *PAIR, "sample")
        .iter_rows(named=True)
    )


def _response_rows(tables: ExperimentTables) -> Iterable[Row]:
    """Responses with the headline Judge's verdicts, which are None where nothing was judged."""
    key = ["iteration", *PAIR, "arm"]
    verdicts = tables.headline("judgements", tested=False).select(
        *key,
        "verdict",
        "verdict_first",
        "verdict_second",
        "unscored",
        pl.col("preference").round(3),
    )
    responses = tables.frame("responses").select(*key, "sample", "text")
    return responses.join(verdicts, on=key, how="left").sort(key).iter_rows(named=True)


def _pair_key(row: Row) -> tuple[str, str, str]:
    return row["split"], row["task_id"], row["persona_id"]
