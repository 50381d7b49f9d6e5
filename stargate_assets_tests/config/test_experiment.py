from typing import Any

import pytest

from stargate_assets.config.data_set import DataSet
from stargate_assets.config.digest import digest_fields
from stargate_assets.config.experiment import (
    Experiment,
    ExperimentError,
    Judge,
    validate_experiment,
)
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import load_project

STATED: dict[str, Any] = {
    "data_set": "d",
    "questioner": {"model": "bundled"},
    "roleplayers": [{"model": {"model": "bundled"}}],
}


def test_the_defaults_are_the_paper_s() -> None:
    experiment = Experiment.model_validate(STATED)
    assert (experiment.simulation.samples, experiment.simulation.max_turns) == (10, 3)
    assert (experiment.iterations, experiment.selection.top) == (3, 1)
    assert experiment.simulation.temperature == 0.9
    assert experiment.roleplayers[0].replies == "generated"
    assert experiment.judge is None
    assert Judge(model=ModelSpec(model="m")).method == "written"
    training = experiment.training
    assert (training.method, training.learning_rate, training.schedule) == ("full", 2e-5, "cosine")
    assert (training.warmup_share, training.epochs, training.batch_size) == (0.1, 1, 64)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"simulation": {"samples": 0}}, "simulation.samples"),
        ({"simulation": {"sample": 3}}, "simulation.sample"),
        ({"evaluation": {"arms": ["no_questions"]}}, "evaluation.arms: method must be among them"),
        ({"questioner": {"engine": "magic", "model": "m"}}, "questioner.engine"),
        ({"training": {"learning_rate": -1}}, "training.learning_rate"),
        (
            {"questioner": {"model": "m", "quantization": "fp8"}},
            "questioner: quantization needs engine: vllm",
        ),
        (
            {"questioner": {"model": "m", "chat_template_kwargs": {"tokenize": True}}},
            "questioner.chat_template_kwargs: tokenize is said by the engine; leave it out",
        ),
        (
            {"questioner": {"engine": "scripted", "model": "m", "chat_template_kwargs": {"a": 1}}},
            "questioner: chat_template_kwargs needs a chat template, and engine scripted has none",
        ),
        ({"judge": {"model": {"model": "m"}, "method": "coin"}}, "judge.method"),
        (
            {"other_judges": [{"model": {"model": "m"}}]},
            "other_judges: there is no judge to stand beside; state one as judge",
        ),
        (
            {"judge": {"model": {"model": "m"}}, "other_judges": [{"model": {"model": "m"}}]},
            "other_judges: two are called 'm'; give each a name of its own",
        ),
        (
            {"judge": {"model": {"model": "m"}}, "other_judges": [{"model": {"model": "n"}}] * 2},
            "other_judges: two are called 'n'",
        ),
        ({"roleplayers": []}, "roleplayers"),
        ({"roleplayers": [{"model": {"model": "m"}}] * 2}, "roleplayers"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ExperimentError, match=f"experiment e is not valid: {field}.*defs.yaml"):
        validate_experiment("e", STATED | change)


def test_an_experiment_on_no_data_set_is_refused() -> None:
    with pytest.raises(ExperimentError, match="'nowhere', which is not declared; there are: every"):
        load_project(lambda _, experiment: experiment.model_copy(update={"data_set": "nowhere"}))


def test_the_digest_is_of_the_science_and_not_of_the_number_of_iterations() -> None:
    one = Experiment.model_validate(STATED)
    assert one.digest() == Experiment.model_validate(STATED | {"iterations": 9}).digest()
    assert one.digest() != Experiment.model_validate(STATED | {"seed": 1}).digest()


JUDGES = {
    "judge": {"model": {"model": "m"}},
    "other_judges": [{"model": {"model": "m"}, "name": "n"}],
}


def test_the_headline_judge_is_the_first() -> None:
    experiment = Experiment.model_validate(STATED | JUDGES)
    assert [judge.label for judge in experiment.judges] == ["m", "n"]
    assert Experiment.model_validate(STATED).judges == ()


def test_a_judge_alone_is_digested_as_before_there_were_others() -> None:
    alone = STATED | {"judge": JUDGES["judge"]}
    digests = [
        Experiment.model_validate(stated).digest()
        for stated in (alone, alone | {"other_judges": []}, STATED | JUDGES)
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    "change", [{"judge": JUDGES["judge"]}, JUDGES, {"evaluation": {"answer_tokens": 9}}]
)
def test_another_evaluation_trains_nothing_again(change: dict[str, Any]) -> None:
    one, other = (Experiment.model_validate(stated) for stated in (STATED, STATED | change))
    assert one.digest("test") != other.digest("test")
    assert one.digest("train_a") == other.digest("train_a")


def test_what_a_chat_template_is_told_is_of_the_science_where_it_is_stated() -> None:
    told = [{}, {"enable_thinking": False}, {"enable_thinking": False, "a": 1}]
    specs = [ModelSpec(model="m", chat_template_kwargs=stated) for stated in told]
    experiments = [
        Experiment.model_validate(STATED | {"questioner": spec.model_dump()}) for spec in specs
    ]
    plain = Experiment.model_validate(STATED | {"questioner": {"model": "m"}})
    assert experiments[0].digest() == plain.digest()
    assert len({experiment.digest() for experiment in experiments}) == len(set(specs)) == 3
    backwards = ModelSpec(model="m", chat_template_kwargs={"a": 1, "enable_thinking": False})
    assert backwards.model_dump_json() == specs[2].model_dump_json()


BATCHED = {"engine": "openai", "model": "m", "batch": True}
"""A model that is asked in batches."""


@pytest.mark.parametrize(
    ("stated", "role"),
    [
        ({"questioner": BATCHED}, "the questioner"),
        ({"roleplayers": [{"model": BATCHED}]}, "a roleplayer"),
        ({"judge": {"model": BATCHED, "method": "fit"}}, "a judge with method: fit"),
        ({"judge": {"model": BATCHED, "method": "choice"}}, "a judge with method: choice"),
    ],
)
def test_no_role_goes_out_in_batches_that_is_scored_or_cannot_wait(
    stated: dict[str, object], role: str
) -> None:
    with pytest.raises(ExperimentError, match=f"batch is for the Oracle.*leave it out of {role}"):
        validate_experiment("any", STATED | stated)


def test_batches_make_nothing_due() -> None:
    """Rows are the same with and without, and so are the digests of what states them."""
    one, other = (
        Experiment.model_validate(STATED | {"judge": {"model": BATCHED | {"batch": batch}}})
        for batch in (True, False)
    )
    assert one.judge is not None and one.judge.model.batch
    assert one != other
    assert one.digest() == other.digest()
    sources = {"tasks": {"file": "t.jsonl"}, "personas": {"file": "p.jsonl"}}
    oracles = [
        DataSet.model_validate(sources | {"oracle": {"model": BATCHED | {"batch": batch}}})
        for batch in (True, False)
    ]
    assert digest_fields(oracles[0]) == digest_fields(oracles[1])
