"""What a run would ask, before and after it: estimates against what was counted."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from stargate_assets.cli.estimate.counting_model import EstimatedCalls, make_up_words
from stargate_assets.cli.estimate.estimator import estimate_calls
from stargate_assets.cli.estimate.tokens import TokenCounter, token_counter
from stargate_assets.cli.estimate_tables import print_estimate, print_estimates
from stargate_assets.config.experiment import Judge
from stargate_assets.config.machine import Machine, Price
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project, assemble, load_project
from stargate_assets.method.eligibility import MOST_SENTENCES, ineligibility
from stargate_assets.method.heard import statements
from stargate_assets.method.language_model import Message
from stargate_assets_tests.conftest import JUDGED, SCRIPTED, Finished
from stargate_assets_tests.method.people import talk


def calls(estimated: list[EstimatedCalls], *roles: str) -> Counter[tuple[str, str]]:
    """By slice and role, of what is not on disk."""
    counted: Counter[tuple[str, str]] = Counter()
    for e in estimated:
        if e.role in roles:
            counted[e.slice, e.role] += e.calls - e.stored
    return counted


def test_what_was_estimated_is_what_is_asked(
    finished: Finished, finished_project: Callable[..., Project]
) -> None:
    before, used = finished.estimated, Counter[tuple[str, str]]()
    for row in finished.asked:
        used[row.slice, row.role] += row.calls
    roles = ("questioner", "roleplayer")
    assert calls(before, *roles) == Counter({k: n for k, n in used.items() if k[1] in roles})
    # Not every conversation may be scored, and not every pair has one to answer.
    for key, expected in calls(before, "scorer", "respondent").items():
        assert 0 < used[key] <= expected
    # All responses of the scripted engine are the same, and judged in the first cell.
    judging = calls(before, "judge")
    assert set(judging) == {(f"{i}|test", "judge") for i in range(3)}
    assert 0 < used["0|test", "judge"] <= judging["0|test", "judge"]
    project = finished_project()
    assert estimate_calls(project, ["loop"])["loop"] == []
    table = project.warehouse.query("select sum(calls) as calls from warehouse.usage")
    assert table["calls"].item() == used.total()


@pytest.mark.parametrize("tokens", [8, 15, 48, 128])
def test_what_is_made_up_may_be_a_turn_and_a_reply(tokens: int) -> None:
    text = make_up_words("any", tokens)
    assert ineligibility(talk((text, text))) is None
    assert 1 <= len(statements(talk((text, text)))) < MOST_SENTENCES
    assert len(re.findall(r"\w+|[.,?]", text)) == tokens


@pytest.mark.parametrize(("replies", "stated"), [("generated", 2), ("chosen", 1)])
def test_what_was_heard_is_scored_once_for_each_answer_and_each_statement(
    replies: str, stated: int, scripted_project: Callable[..., Project]
) -> None:
    """Beside the gold responses: at least one statement of most conversations of two arms."""
    roleplayers = [{"model": SCRIPTED, "replies": replies}]
    arms = ["method", "no_questions"]
    project = scripted_project(roleplayers=roleplayers, evaluation={"samples": 1, "arms": arms})
    scored = calls(estimate_calls(project, ["loop"])["loop"], "scorer")
    pairs, gold = 4, 4 * 2 + 4 * 2
    assert gold + pairs * stated < scored["0|test", "scorer"]


def test_each_arm_is_judged_by_both_letters_in_both_orders(
    scripted_project: Callable[..., Project],
) -> None:
    judge = JUDGED["judge"] | {"method": "choice"}
    other = judge | {"name": "elm", "model": SCRIPTED | {"model": "another"}}
    pairs, letters_and_orders = 4, 4
    # Two audits in cell 0; later the arms, and the method against base_asks.
    comparisons = {"0|test": 2 + 2, "1|test": 4 + 1, "2|test": 4 + 1}
    for others in ([], [other]):
        project = scripted_project(**JUDGED | {"judge": judge, "other_judges": others})
        assert calls(estimate_calls(project, ["loop"])["loop"], "judge") == {
            (cell, "judge"): (1 + len(others)) * arms * pairs * letters_and_orders
            for cell, arms in comparisons.items()
        }


def test_what_is_on_disk_is_subtracted(finished_project: Callable[..., Project]) -> None:
    # Another schedule makes every table due, and the first policy's calls stay what they were.
    due = estimate_calls(finished_project(selection={"top": 2}, judge=None), ["loop"])["loop"]
    first = [e for e in due if e.slice.startswith("0|") and e.role != "respondent"]
    assert first
    assert all(e.calls == e.stored > 0 for e in first)
    assert all(e.prompt_tokens == e.completion_tokens == 0 for e in first)
    later = [e for e in due if e.slice.startswith("2|") and e.role == "questioner"]
    assert [e.stored for e in later] == [0]
    assert later[0].measured
    assert later[0].seconds is not None


@pytest.mark.slow
def test_what_another_experiment_has_trained_or_asks_before_is_subtracted(
    finished_project: Callable[..., Project], capsys: pytest.CaptureFixture[str]
) -> None:
    project = finished_project()
    loop = project.experiments["loop"]
    judge = Judge(model=ModelSpec(engine="scripted", model="another"), method="fit")
    names = ["loop", "twin", "twin_again"]
    alike = {"loop": loop} | dict.fromkeys(names[1:], loop.model_copy(update={"judge": judge}))
    found = estimate_calls(assemble(project.data_sets, alike, Path("warehouse")), names)
    assert found["loop"] == []
    made = Counter[str]()
    for e in found["twin"]:
        made[e.role] += e.calls - e.stored
    assert {role for role, count in made.items() if count} == {"judge"}
    assert [e.calls for e in found["twin_again"]] == [e.calls for e in found["twin"]]
    assert all(e.calls == e.stored for e in found["twin_again"])
    print_estimates(found)
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
    numbers = {row[1].strip(): [cell.strip() for cell in row[2:4]] for row in rows}
    assert numbers["all"][0] == f"{sum(e.calls for name in names for e in found[name]):,}"
    assert numbers["twin_again"][0] == numbers["twin_again"][1]


def test_prices_are_stated_or_unknown(
    scripted_project: Callable[..., Project], smollm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("warehouse").mkdir()
    Path("warehouse/models").symlink_to(smollm.parent)
    served = [
        {"name": n, "model": {"engine": "openai", "endpoint": "NOWHERE", "model": n}}
        for n in ("known", "unknown")
    ]
    project = scripted_project(roleplayers=served)
    price = Price.model_validate(
        {"endpoint": "NOWHERE", "model": "known", "prompt": 2e6, "completion": 3e6}
        | {"as_of": "2024-05-06"}
    )
    project.models.machine = Machine(prices=(price,))
    found = estimate_calls(project, ["loop"])["loop"]
    for e in found:
        if e.model == "known at NOWHERE":
            assert e.dollars == pytest.approx(2 * e.prompt_tokens + 3 * e.completion_tokens)
        else:
            assert e.dollars == (None if e.model == "unknown at NOWHERE" else 0)
    print_estimate("loop", found, project.models.machine)
    said = " ".join(capsys.readouterr().out.split())
    assert "as of 2024-05-06" in said
    assert "price unknown, state it in machine.yaml" in said
    assert "speed not measured here yet" in said
    assert "completions of roleplayer counted at their limit" in said


def test_batches_are_estimated_at_their_own_price(
    scripted_project: Callable[..., Project], smollm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("warehouse").mkdir()
    Path("warehouse/models").symlink_to(smollm.parent)
    judge = {"engine": "openai", "endpoint": "NOWHERE", "model": "m"}
    stated = {"endpoint": "NOWHERE", "model": "m", "prompt": 2e6, "completion": 3e6}
    judges = {
        "judge": {"model": judge | {"batch": True}, "name": "in batches"},
        "other_judges": [{"model": judge, "name": "at once"}],
    }
    project = scripted_project(iterations=1, **judges)
    for batch, share, said in (
        (0.5, 0.5, "at 1e+06 and 1.5e+06 a million tokens"),
        (None, 1.0, "at most: its price in machine.yaml does not state batch"),
    ):
        price = Price.model_validate(stated | {"batch": batch, "as_of": "2024-05-06"})
        project.models.machine = Machine(prices=(price,))
        found = estimate_calls(project, ["loop"])["loop"]
        asked = [e for e in found if e.in_batches]
        assert asked and {e.role for e in asked} == {"judge"}
        for e in asked:
            full = 2 * e.prompt_tokens + 3 * e.completion_tokens
            assert e.dollars == pytest.approx(share * full)
        print_estimate("loop", found, project.models.machine)
        printed = " ".join(capsys.readouterr().out.split())
        assert said in printed
        assert "in batches, each of which may take a day" in printed


def test_the_paper_s_experiment_is_estimated_at_its_size(tmp_path: Path) -> None:
    project = load_project(root=tmp_path)
    for name, experiment in project.experiments.items():
        if name.startswith("star_gate"):
            llama = name in {"star_gate_llama3", "star_gate_self_oracle"}
            assert experiment.iterations == (1 if llama else 3)
            assert experiment.simulation.samples == 10
            assert (experiment.simulation.max_turns, experiment.selection.top) == (3, 1)
            assert experiment.training.batch_size == 64
    paper = project.experiments["star_gate"].training
    assert (paper.method, paper.learning_rate, paper.epochs) == ("full", 2e-5, 1)
    assert project.experiments["star_gate_lora"].training.method == "lora"


@pytest.mark.parametrize("spec", [ModelSpec(model="bundled"), ModelSpec(engine="vllm", model="")])
def test_a_model_s_own_tokenizer_counts(smollm: Path, spec: ModelSpec) -> None:
    spec = spec if spec.model else spec.model_copy(update={"model": str(smollm)})
    counter = token_counter(spec, lambda s: str(smollm) if s.model == "bundled" else s.model)
    assert counter.whose == spec.model
    assert counter.text("one two three") == 3
    assert counter.prompt([Message("user", "one two three")]) > 3 + 2


def test_another_s_counts_where_it_is_not_to_be_had(
    smollm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def path(spec: ModelSpec) -> str:
        return str(smollm) if spec.model == "bundled" else spec.model

    counter: TokenCounter = token_counter(ModelSpec(model="nobody/nothing"), path)
    assert counter.whose == "the bundled model"
    assert token_counter(ModelSpec(engine="scripted", model="a"), path).text("a b c") == 3
