"""What an experiment changes of the method reaches its tables and what is trained on."""

from collections.abc import Callable
from itertools import pairwise

import polars as pl
import pytest

from stargate_assets.cli.driver import run_experiment
from stargate_assets.definitions.project import Project


@pytest.mark.slow
def test_all_of_it_in_one_loop(scripted_project: Callable[..., Project]) -> None:
    speaker = {"name": "tester", "model": {"engine": "scripted", "model": "tester"}}
    project = scripted_project(
        iterations=1,
        simulation={"samples": 4, "max_turns": 2, "unasked": "all"},
        selection={"objective": "contrast", "question_cost": 0.5, "top": 2},
        regularization={"response": "gold"},
        evaluation={"samples": 2, "roleplayers": [speaker]},
    )
    run_experiment(project, "loop", None, print)

    def rows(name: str, schema: str = "loop") -> pl.DataFrame:
        return project.warehouse.query(f'from "{schema}".{name}')

    talked = rows("conversations")
    training, test = talked.filter(split="train_a"), talked.filter(split="test")
    unasked = training.filter(pl.col("questions").list.len() == 0)
    pairs = training.select("task_id", "persona_id").n_unique()
    assert (training.height, unasked.height) == (5 * pairs, pairs)
    assert set(test["roleplayer"]) == {"tester"} and "tester" not in set(training["roleplayer"])
    conditions = rows("gold_log_probs").filter(split="train_a")["condition"].value_counts()
    assert len(set(conditions["count"])) == 1 and conditions.height == 2
    learnt = rows("regularization_responses").join(
        rows("gold_responses", "mini"), on=["split", "task_id", "persona_id"]
    )
    assert learnt.height == rows("best_conversations").height
    assert (learnt["text"] == learnt["text_right"]).all()
    for _, of_pair in rows("best_conversations").sort("rank").group_by("task_id", "persona_id"):
        assert all(a >= b for a, b in pairwise(of_pair["value"]))
