"""Rules that change raise a number; a comment makes nothing due, a prompt exactly what uses it."""

import ast
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stargate_assets.config.data_set import DataSet
from stargate_assets.config.experiment import Experiment, Regularization
from stargate_assets.method.arms import Response
from stargate_assets.method.conversation import Conversation
from stargate_assets.method.evaluations import EVALUATIONS
from stargate_assets.method.examples import training_dialogues
from stargate_assets.method.judging import Comparison
from stargate_assets.method.prompts import SHIPPED, Prompts
from stargate_assets.method.regularization import learn_gold_responses
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.lineage import LINEAGE
from stargate_assets.pipeline.assets.steps import (
    evaluate_cell,
    judge_comparisons,
    regularize_cell,
    respond_cell,
    score_cell,
    simulate_cell,
    trace_cell,
)
from stargate_assets.pipeline.assets.versions import cell_versions, code_version, data_versions
from stargate_assets_tests.method.people import ScriptedModel, grid
from stargate_assets_tests.method.records import PATIENTS, TASKS
from stargate_assets_tests.pipeline.assets.rules import (
    ENTRIES,
    RECORD,
    VERSIONS,
    digests,
    names_of,
    numbers,
    versions,
)

MODEL = {"engine": "scripted", "model": "any"}
RECORDED = json.loads(RECORD.read_text())
DEFAULTS = Path(__file__).with_name("defaults.json")


@pytest.mark.parametrize("table", ENTRIES)
def test_rules_that_have_changed_raise_their_number(table: str) -> None:
    digest, number = digests()[table], numbers()[table]
    if digest != RECORDED[table]["digest"]:
        pytest.fail(
            f"The code of the rules of {table} has changed. If the same inputs now give other "
            "rows, raise its number (pipeline/assets/lineage.py; of a training SPEC_VERSION in "
            "training/spec.py). Then record it: "
            "python -m stargate_assets_tests.pipeline.assets.rules"
        )
    assert number == RECORDED[table]["number"]


def test_nothing_becomes_due_unnoticed() -> None:
    """Prompts and fields that are kept another way leave versions as they were."""
    recorded, found = json.loads(VERSIONS.read_text()), versions()
    due = sorted(key for key, version in found.items() if version != recorded.get(key))
    assert not due, (
        "Every user's tables of these kinds become due. If that is meant, record it: "
        "python -m stargate_assets_tests.pipeline.assets.rules"
    )


def test_every_table_has_rules_that_are_held() -> None:
    assert set(LINEAGE) <= set(ENTRIES)


def test_comments_docstrings_and_annotations_are_no_rules() -> None:
    plain = "def f(a):\n    return a + 1\n"
    dressed = '# why\ndef f(a: int) -> int:\n    """Adds."""\n    # one more\n    return a + 1\n'

    def dumped(source: str) -> str:
        return ast.dump(names_of(source)[0]["f"]).replace("Pass(), ", "")

    assert dumped(plain) == dumped(dressed)
    assert dumped(plain) != dumped(plain.replace("1", "2"))


def test_a_default_that_changes_is_noticed() -> None:
    """Defaults are in no digest, so a changed one would make nothing due."""
    recorded = json.loads(DEFAULTS.read_text())
    stated = defaults(Experiment) | defaults(DataSet)
    assert {field: stated.get(field) for field in recorded} == recorded, (
        "A default has changed: tables that were made with the old one would pass for current. "
        "Raise the numbers of the tables that it changes, and record it in defaults.json."
    )


def defaults(model: type[Experiment | DataSet]) -> dict[str, object]:
    """The default of every field, by its path, of those that have one."""
    schema = model.model_json_schema()
    parts = {model.__name__: schema, **schema["$defs"]}
    return {
        f"{name}.{field}": of["default"]
        for name, part in parts.items()
        for field, of in part.get("properties", {}).items()
        if "default" in of
    }


def experiment(**changes: object) -> Experiment:
    stated = {"data_set": "mini", "questioner": MODEL, "roleplayers": [{"model": MODEL}]}
    return Experiment.model_validate(stated | changes)


JUDGED = {"written", "choice", "fit"}
DUE = {
    "opening": set(LINEAGE),
    "questioner": set(LINEAGE),
    "asking": set(LINEAGE),
    "roleplayer": set(LINEAGE),
    "closing": set(LINEAGE) - {"conversations", "roleplayer_audit"},
    "persona_opening": {
        "gold_log_probs",
        "best_conversations",
        "regularization_responses",
        "checkpoints",
        "judge_audit",
        "judgements",
        "win_rates",
        "evaluation_outcomes",
    },
    "instructed": {"responses", "heard_statements", "judge_audit", "judgements", "win_rates"},
    "judge": set[str](),
}
"""Of an experiment whose Judge is `fit`: the tables of a test cell that a prompt makes due, those
that use it and those that are made from them.
"""


@pytest.mark.parametrize("prompt", DUE)
def test_a_changed_prompt_makes_due_what_uses_it(prompt: str) -> None:
    fit, cell = {"judge": {"model": MODEL, "method": "fit"}}, Cell(0, "test")
    before = cell_versions(experiment(**fit), cell, None, {})
    after = cell_versions(experiment(**fit, **changed(prompt)), cell, None, {})
    assert {table for table in before if before[table] != after[table]} == DUE[prompt]


@pytest.mark.parametrize(
    ("method", "prompt", "due"),
    [
        ("written", "judge_again", True),
        ("written", "judge_choice", False),
        ("choice", "judge_choice", True),
        ("fit", "judge", False),
    ],
)
def test_a_judge_is_due_by_its_own_method(method: str, prompt: str, due: bool) -> None:
    judge = {"judge": {"model": MODEL, "method": method}}
    before = code_version(experiment(**judge), "judgements")
    after = code_version(experiment(**judge, **changed(prompt)), "judgements")
    assert (after != before) == due


def test_every_judge_is_due_by_its_prompts() -> None:
    judges: dict[str, object] = {
        "judge": {"model": MODEL, "method": "fit"},
        "other_judges": [{"model": MODEL, "name": "b"}],
    }
    stated, cell = experiment(**judges), Cell(0, "test")
    assert set(LINEAGE["judgements"].prompts(stated, "test")) == {
        "opening", "persona_opening", "judge", "judge_written", "judge_again",
    }  # fmt: skip
    before = cell_versions(stated, cell, None, {})
    after = cell_versions(experiment(**judges, **changed("judge_written")), cell, None, {})
    due = {table for table in before if before[table] != after[table]}
    assert due == {"judge_audit", "judgements", "win_rates"}


def test_a_comment_in_a_prompt_makes_nothing_due() -> None:
    commented = experiment(**changed("opening", "{{# why #}}\n{source}"))
    plain, cell = experiment(), Cell(0, "test")
    assert cell_versions(commented, cell, None, {}) == cell_versions(plain, cell, None, {})


def test_a_distilled_answers_prompt_makes_due_what_it_changes() -> None:
    """Own answers are made under it, and the arm `instructed` answers under it."""
    stated, cell = experiment(judge={"model": MODEL, "method": "fit"}), Cell(0, "test")
    told = stated.model_copy(
        update={"regularization": Regularization(prompt="{{ answer }} Use what I said.")}
    )
    before, after = (cell_versions(e, cell, None, {}) for e in (stated, told))
    due = {table for table in before if before[table] != after[table]}
    assert due == {
        "regularization_responses", "checkpoints",
        "responses", "heard_statements", "judge_audit", "judgements", "win_rates",
    }  # fmt: skip


def test_an_oracles_prompt_makes_its_gold_responses_due() -> None:
    files = {"tasks": {"file": "t.csv"}, "personas": {"file": "p.csv"}}
    stated = files | {"oracle": {"model": MODEL}}
    before = data_versions(DataSet.model_validate(stated))
    after = data_versions(DataSet.model_validate(stated | changed("oracle")))
    assert [table for table in before if before[table] != after[table]] == ["gold_responses"]


def changed(prompt: str, text: str = "{source} Be kind.") -> dict[str, dict[str, str]]:
    """Another text for a prompt, made of its `source`, as it is stated."""
    return {"prompts": {prompt: text.format(source=SHIPPED.text(prompt))}}


@dataclass(frozen=True)
class Recorder(Prompts):
    """The shipped prompts; remembers which of them were used."""

    used: set[str] = field(default_factory=set)

    def text(self, template: str) -> str:
        self.used.add(template)
        return super().text(template)


@pytest.mark.parametrize("split", ["train_a", "test"])
@pytest.mark.parametrize("method", ["written", "choice", "fit"])
@pytest.mark.parametrize("replies", ["generated", "chosen"])
def test_the_prompts_of_a_table_are_those_that_its_step_renders(
    split: str, method: str, replies: str
) -> None:
    recorder = Recorder()
    stated = experiment(
        prompts=recorder,
        roleplayers=[{"model": MODEL, "replies": replies}],
        judge={"model": MODEL, "method": method},
        simulation={"samples": 2},
        evaluation={"samples": 2},
    )
    judge, cell, model, pairs = stated.judge, Cell(0, split), ScriptedModel(), grid(2, 2)
    assert judge is not None
    gold = {pair.key: f"{pair.persona.name}, try it." for pair in pairs}
    talked: list[Conversation] = []
    said: list[Response] = []
    compared = [Comparison(pair, "One.", "Two.") for pair in pairs]

    def simulate() -> None:
        label = stated.roleplayers[0].label
        talked.extend(simulate_cell(stated, cell, pairs, model, {label: model}))

    def respond() -> None:
        said.extend(respond_cell(stated, cell, pairs, {0: model}, {0: talked}))

    steps: dict[str, Callable[[], object]] = {
        "conversations": simulate,
        "gold_log_probs": lambda: score_cell(stated, cell, talked, gold, model),
        "regularization_responses": lambda: regularize_cell(stated, talked, gold, model),
        "checkpoints": lambda: training_dialogues(
            talked, learn_gold_responses(talked, gold), stated.told
        ),
        "responses": respond,
        "heard_statements": lambda: trace_cell(stated, cell, pairs, said, {0: talked}, model),
        "judgements": lambda: judge_comparisons(judge, model, compared, stated.told),
    }
    for table, step in steps.items():
        recorder.used.clear()
        step()
        assert recorder.used == set(LINEAGE[table].prompts(stated, split)), table


@pytest.mark.parametrize("replies", ["generated", "chosen"])
def test_the_prompts_of_external_evaluations_are_those_that_they_render(replies: str) -> None:
    recorder, model = Recorder(), ScriptedModel()
    stated = experiment(prompts=recorder, roleplayers=[{"model": MODEL, "replies": replies}])
    for name, records in (("in3", TASKS), ("mediq", PATIENTS)):
        kind = EVALUATIONS[name]
        items = [kind.read(record) for record in records]
        players = {stated.roleplayers[0].label: model}
        evaluate_cell(stated, Cell(0, name), kind, items, model, model, players)
    assert recorder.used == set(LINEAGE["evaluation_outcomes"].prompts(stated, "in3"))
