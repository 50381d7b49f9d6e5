"""What every eligible conversation teaches a loss that weighs, with the scores of a real model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from stargate_assets.cli.driver import run_experiment
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project
from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.method.conditions import Condition
from stargate_assets.method.examples import IGNORED, tokenise
from stargate_assets.method.scoring import GoldLogProb
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.assets.steps import find_lessons
from stargate_assets_tests.conftest import USE
from stargate_assets_tests.method.people import pair, talk

BREAD = ("What do you bake?", "I bake bread at night.")
FOOD = ("Is there food that you avoid?", "I cannot eat peanuts because my throat swells.")
TALKS = [
    talk(BREAD, FOOD),
    talk(FOOD, sample=1),
    talk(("Who is Bo?", "I owe money to Bo."), sample=2),
]
SCORES = [
    GoldLogProb(pair(), Condition.EXPERIMENTAL, talked.sample, pair().key[1], log_prob, 9)
    for talked, log_prob in zip(TALKS, (-10.0, -13.0, -19.0), strict=True)
]


def experiment(model: Path, **training: Any) -> Experiment:
    asker = {"model": str(model)}
    stated = {"data_set": "d", "questioner": asker, "roleplayers": [{"model": asker}]}
    return Experiment.model_validate(stated | {"training": training})


def test_questions_are_scored_token_for_token(tiny_model: Path, tmp_path: Path) -> None:
    model = ModelPool(tmp_path).open(ModelSpec(model=str(tiny_model)), USE)
    stated = experiment(tiny_model, loss="reinforce")
    dialogues, counts = find_lessons(stated, TALKS, SCORES, model, model)
    assert [d.weight for d in dialogues] == pytest.approx([6, 1.5, -7.5])
    assert counts == {"no_better_or_worse_sibling": 0, "too_long_to_be_scored": 0}
    chat = ChatTokenizer(AutoTokenizer.from_pretrained(tiny_model), str(tiny_model), {})
    for dialogue in dialogues:
        (example,) = tokenise(dialogue, chat)
        assert example.sampled is not None
        assert example.sampled == example.base
        learnt = [label != IGNORED for label in example.labels]
        assert [log_prob < 0 for log_prob in example.sampled] == learnt


def test_the_worse_are_not_learnt_from_by_weighted_fine_tuning(tiny_model: Path) -> None:
    stated = experiment(tiny_model, loss="weighted_sft", advantage_temperature=3.0)
    refuse: Any = None  # nothing is asked
    dialogues, counts = find_lessons(stated, TALKS, SCORES, refuse, refuse)
    assert len(dialogues) == 2
    assert sum(d.weight for d in dialogues) == pytest.approx(2)
    assert counts == {"no_better_or_worse_sibling": 0, "worse_than_siblings": 1}


@pytest.mark.slow
def test_a_loop_learns_from_all_siblings_and_goes_on(
    scripted_project: Callable[..., Project],
) -> None:
    training = {"method": "lora", "batch_size": 4, "loss": "weighted_sft", "start_from": "previous"}
    project = scripted_project(training=training)
    run_experiment(project, "loop", None, lambda _: None)
    better = project.warehouse.query("""
        WITH scored AS (
            SELECT iteration, log_prob, avg(log_prob) OVER (
                PARTITION BY iteration, task_id, persona_id) AS mean
            FROM loop.gold_log_probs WHERE split LIKE 'train%' AND condition = 'experimental')
        SELECT iteration, count(*) AS conversations FROM scored
        WHERE log_prob > mean + 1e-9 GROUP BY ALL ORDER BY ALL
    """)
    made = project.warehouse.query("FROM loop.checkpoints ORDER BY iteration")
    assert made["sha256"].n_unique() == made.height == 2
    assert made["question_examples"].to_list() == better["conversations"].to_list()
