"""Experiments as YAML files: what one takes over from another, and what a bad file is told."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from stargate_assets.cli.main import main
from stargate_assets.config.inheritance import merge_fields
from stargate_assets.definitions.project import load_project
from stargate_assets.method.errors import StargateError
from stargate_assets.pipeline.declarations import ABLATIONS, component_tree, load_declarations
from stargate_assets_tests.conftest import ENVIRONMENT, write_data_set

EXPERIMENT = "type: stargate_assets.pipeline.components.ExperimentComponent\n"
DATA_SET = "type: stargate_assets.pipeline.components.DataSetComponent\n"
BASE = """attributes:
  name: base
  experiment:
    data_set: mini
    questioner: {model: bundled}
    roleplayers: [{model: {model: bundled}, replies: chosen}]
    training: {method: lora, learning_rate: 1.0e-3}
    judge: {model: {model: bundled}, method: fit}
"""
FILES = "tasks: {file: mini/tasks.jsonl}, personas: {file: mini/personas.jsonl}"
MINI = f"""attributes:
  name: mini
  data_set: {{{FILES}, gold_responses: {{file: mini/gold_responses.jsonl}}}}
"""
UNGOLD = f"attributes:\n  name: ungold\n  data_set: {{{FILES}}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory of defs with two data sets, one of them without gold responses, and an
    experiment.
    """
    defs = tmp_path / "project" / "defs"
    for name, text in (
        ("mini", DATA_SET + MINI),
        ("ungold", DATA_SET + UNGOLD),
        ("base", EXPERIMENT + BASE),
    ):
        write_data_set(defs / name / "mini")
        (defs / name / "defs.yaml").write_text(text)
    return defs


def declare(folder: Path, name: str, text: str | bytes) -> None:
    (folder / name).mkdir(exist_ok=True)
    content = text if isinstance(text, bytes) else text.encode()
    (folder / name / "defs.yaml").write_bytes(content)


def like(other: str, name: str = "mine", experiment: str = "{}") -> str:
    return EXPERIMENT + (
        f"attributes:\n  name: {name}\n  like: {other}\n  experiment: {experiment}\n"
    )


def test_an_experiment_is_one_file_of_at_most_ten_lines(folder: Path) -> None:
    text = like("base", experiment="{simulation: {max_turns: 1}, training: {epochs: 2}}")
    assert len(text.splitlines()) <= 10
    declare(folder, "mine", text)
    project = load_project(folder=folder)
    base, mine = project.experiments["base"], project.experiments["mine"]
    assert mine.training == base.training.model_copy(update={"epochs": 2})
    assert mine.simulation == base.simulation.model_copy(update={"max_turns": 1})
    same = {"roleplayers", "questioner", "judge", "data_set", "evaluation", "selection"}
    assert mine.model_dump(include=same) == base.model_dump(include=same)

    repository = project.definitions.get_repository_def()
    keys = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    assert {key.replace("base/", "mine/") for key in keys if key.startswith("base/")} <= keys
    assert {"mine_train_iteration", "mine_evaluate", "mine_report"} <= set(repository.job_names)
    assert repository.has_sensor_def("mine_walk")

    alone = component_tree(folder).build_defs_at_path("mine")
    assets = [a for a in alone.assets or () if isinstance(a, dg.AssetsDefinition | dg.AssetSpec)]
    found = {asset.key.to_user_string() for asset in assets}
    assert found == {key for key in keys if key.startswith("mine/")}


def test_likes_are_a_chain_in_which_lists_and_scalars_replace(folder: Path) -> None:
    spoken = "{roleplayers: [{model: {model: other}}], judge: null, iterations: 5}"
    declare(folder, "a", like("b", "a", "{iterations: 1}"))
    declare(folder, "b", like("base", "b", spoken))
    experiments = load_project(folder=folder).experiments
    assert [r.model.model for r in experiments["a"].roleplayers] == ["other"]
    assert [r.replies for r in experiments["a"].roleplayers] == ["generated"]
    assert experiments["a"].judge is None
    assert (experiments["a"].iterations, experiments["b"].iterations) == (1, 5)
    assert experiments["a"].training == experiments["base"].training


leaves = st.none() | st.integers() | st.text(max_size=2) | st.lists(st.integers(), max_size=2)
trees = st.dictionaries(
    st.sampled_from("abc"),
    st.recursive(leaves, lambda inner: st.dictionaries(st.sampled_from("abc"), inner)),
)


@settings(deadline=None)
@given(trees, trees)
def test_merging_keeps_what_is_stated_and_what_is_not(
    fields: dict[str, Any], over: dict[str, Any]
) -> None:
    result = merge_fields(fields, over)
    assert merge_fields(fields, {}) == fields
    assert merge_fields({}, over) == over
    assert merge_fields(result, over) == result
    for key in {*fields, *over}:
        if key not in over:
            assert result[key] == fields[key]
        elif not isinstance(over[key], dict):
            assert result[key] == over[key]


TEN_BAD_FILES: dict[str, tuple[str | bytes, str]] = {
    "not YAML": (
        EXPERIMENT + "attributes: {name: [mine\n",
        "/mine/defs.yaml, line 3: this is not YAML (expected ',' or ']', but got '<stream end>'); "
        "correct it.",
    ),
    "empty": (
        "# later\n",
        "/mine/defs.yaml declares nothing; state a type and attributes, or delete the file.",
    ),
    "Latin-1": (
        EXPERIMENT.encode() + b"attributes: {name: m\xfcne}\n",
        "/mine/defs.yaml is not UTF-8; save the file as UTF-8.",
    ),
    "type misspelt": (
        like("base").replace("Experiment", "Experment", 1),
        "/mine/defs.yaml, line 1, type: there is none such (Module "
        "`stargate_assets.pipeline.components` has no attribute `ExpermentComponent`); an "
        "experiment has the type "
        "stargate_assets.pipeline.components.ExperimentComponent, and a data set "
        "stargate_assets.pipeline.components.DataSetComponent.",
    ),
    "type of nothing": (
        "type: ExperimentComponent\nattributes: {name: mine}\n",
        "/mine/defs.yaml, line 1, type: there is none such (Invalid component type name: "
        "`ExperimentComponent`. Type names must be a",
    ),
    "type of another kind": (
        "type: stargate_assets.pipeline.components.check_data_set\nattributes: {name: mine}\n",
        "/mine/defs.yaml, line 1, type: there is none such (Component type "
        "stargate_assets.pipeline.components.check_data_set is of type <class 'function'>",
    ),
    "no type": (
        "attributes: {name: mine}\n",
        "/mine/defs.yaml, line 1, type: Field required; correct it.",
    ),
    "attribute misspelt": (
        like("base").replace("experiment:", "experiments:"),
        "/mine/defs.yaml, line 5, attributes.experiments: Extra inputs are not permitted; "
        "correct it.",
    ),
    "attribute of another type": (
        like("base", experiment="3"),
        "/mine/defs.yaml, line 5, attributes.experiment: Input should be an object; correct it.",
    ),
    "template of nothing": (
        like("base", experiment="{data_set: '{{ nothing }}'}"),
        "/mine/defs.yaml, line 5: a template cannot be filled in ('nothing' is undefined); "
        "correct it.",
    ),
    "unknown field": (
        like("base", experiment="{simulation: {sample: 3}}"),
        "The experiment mine is not valid: simulation.sample: Extra inputs are not permitted; "
        "correct its defs.yaml.",
    ),
    "wrong type": (
        like("base", experiment="{training: {epochs: many}}"),
        "The experiment mine is not valid: training.epochs: Input should be a valid integer, "
        "unable to parse string as an integer; correct its defs.yaml.",
    ),
    "unknown engine": (
        like("base", experiment="{questioner: {engine: magic}}"),
        "The experiment mine is not valid: questioner.engine: there is no 'magic'; there are: "
        "transformers, vllm, openai, scripted; correct its defs.yaml.",
    ),
    "field of vllm": (
        like("base", experiment="{questioner: {max_length: 4096}}"),
        "The experiment mine is not valid: questioner: max_length needs engine: vllm; correct its "
        "defs.yaml.",
    ),
    "roleplayers called alike": (
        like("base", experiment="{roleplayers: [{model: {model: m}}, {model: {model: m}}]}"),
        "The experiment mine is not valid: roleplayers: two are called 'm'; give each a name of "
        "its own; correct its defs.yaml.",
    ),
    "nothing stated": (
        EXPERIMENT + "attributes: {name: mine}\n",
        "The experiment mine is not valid: data_set: Field required; correct its defs.yaml.",
    ),
    "no such data set": (
        like("base", experiment="{data_set: nowhere}"),
        "The experiment mine names the data set 'nowhere', which is not declared; there are: mini.",
    ),
    "data set without gold responses": (
        like("base", experiment="{data_set: ungold}"),
        "The experiment mine names the data set 'ungold', which has no gold responses; there are: "
        "mini.",
    ),
    "name of another": (
        like("base", name="base"),
        "The name 'base' is taken; give each data set, experiment and evaluation under defs/ a "
        "name of its own.",
    ),
    "reserved name": (like("base", name="warehouse"), "The name 'warehouse' is taken; give each"),
    "like itself": (
        like("mine"),
        "The experiment mine is like mine, which is a circle; state one of them without `like`.",
    ),
    "like nobody": (
        like("nobody"),
        "The experiment mine is like 'nobody', which is not declared; `like` takes an experiment, "
        "and there are: base.",
    ),
    "like a data set": (
        like("mini"),
        "The experiment mine is like 'mini', which is a data set; `like` takes an experiment, and "
        "there are: base.",
    ),
}


@pytest.mark.parametrize("fault", TEN_BAD_FILES)
def test_ten_bad_files_are_ten_clear_errors(
    folder: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, complaint = TEN_BAD_FILES[fault]
    declare(folder, "mine", text)
    with pytest.raises(StargateError) as caught:
        load_project(folder=folder)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)

    monkeypatch.setattr("stargate_assets.definitions.project.DEFS", folder)
    result = CliRunner().invoke(main, ["run", "mine"])
    assert (result.exit_code, result.output) == (1, f"Error: {caught.value}\n")


@pytest.mark.parametrize(
    "fault", [fault for fault, (_, said) in TEN_BAD_FILES.items() if "defs.yaml, line " in said]
)
def test_a_line_is_counted_from_the_top_of_the_file_in_its_second_document_too(
    folder: Path, fault: str
) -> None:
    text, complaint = TEN_BAD_FILES[fault]
    assert isinstance(text, str)
    first = like("base", name="first") + "---\n"
    lines = len(first.splitlines())
    declare(folder, "mine", first + text)
    with pytest.raises(StargateError) as caught:
        load_project(folder=folder)
    moved = re.sub(r"line (\d+)", lambda line: f"line {int(line[1]) + lines}", complaint)
    assert moved in str(caught.value)


def test_a_document_that_states_nothing_is_named_by_its_line(folder: Path) -> None:
    declare(folder, "mine", like("base") + "---\n# later\n")
    with pytest.raises(StargateError, match=r"/mine/defs\.yaml, line 8: Input should be an object"):
        load_project(folder=folder)


def test_a_file_may_hold_several_documents_and_what_is_below_ablations_is_apart(
    folder: Path,
) -> None:
    declare(folder, "mine", like("base", "a") + "---\n" + DATA_SET + MINI.replace("mini\n", "b\n"))
    (folder / "ablations").mkdir()
    declare(folder / "ablations", "mine", like("a", "c") + "---\n" + like("c", "d"))
    shutil.copytree(folder / "mini" / "mini", folder / "mine" / "mini")
    project = load_project(folder=folder)
    assert project.experiments["d"] == project.experiments["base"]
    ablations = {name for name, location in project.locations.items() if location == ABLATIONS}
    assert ablations == {"c", "d"}
    assert set(project.locations) == {"mini", "ungold", "base", "a", "b", "c", "d"}


def test_no_file_declares_nothing(tmp_path: Path) -> None:
    declared = load_declarations(tmp_path)
    assert (declared.data_sets, declared.experiments) == ({}, {})


@pytest.mark.slow  # seconds for each
@pytest.mark.parametrize("fault", TEN_BAD_FILES)
def test_dg_says_the_same(folder: Path, fault: str) -> None:
    pytest.importorskip("dagster_dg_cli")
    text, complaint = TEN_BAD_FILES[fault]
    declare(folder, "mine", text)
    project = folder.parent.parent
    (folder.parent / "definitions.py").write_text(
        "from pathlib import Path\nimport dagster as dg\n"
        "from stargate_assets.definitions.project import load_project\n\n"
        "@dg.definitions\ndef defs() -> dg.Definitions:\n"
        "    return load_project(folder=Path(__file__).parent / 'defs').definitions\n"
    )
    for package in (folder, folder.parent):
        (package / "__init__.py").touch()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "project"\nversion = "0"\n[tool.dg]\ndirectory_type = "project"\n'
        '[tool.dg.project]\nroot_module = "project"\ndefs_module = "project.defs"\n'
    )
    # Its own look at the YAML comes first unless it is left out, and is a trace for some.
    command = [sys.executable, "-m", "dagster_dg_cli.cli", "check", "defs", "--no-check-yaml"]
    path = f"{project}{os.pathsep}{ENVIRONMENT['PYTHONPATH']}"
    done = subprocess.run(
        command,
        cwd=project,
        env=ENVIRONMENT | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert complaint in done.stdout + done.stderr


def test_a_circle_of_two_is_told_from_one_of_them(folder: Path) -> None:
    declare(folder, "a", like("b", "a"))
    declare(folder, "b", like("a", "b"))
    with pytest.raises(StargateError, match="experiment a is like b is like a, which is a circle"):
        load_project(folder=folder)


def test_a_fault_is_told_of_the_experiment_that_states_it(folder: Path) -> None:
    declare(folder, "a", like("b", "a"))
    declare(folder, "b", like("base", "b", "{seed: -1}"))
    with pytest.raises(StargateError, match="The experiment b is not valid: seed"):
        load_project(folder=folder)


def new(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["new", *words])
    return result.exit_code, " ".join(result.output.split())


def test_new_writes_what_differs_and_it_loads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargate_assets.definitions.project.DEFS", folder)
    stated = ("simulation.max_turns=1", "training.epochs=3", "judge=null", "selection.margin=1e-1")
    code, output = new("short", "--from", "base", *stated)
    path = folder / "short" / "defs.yaml"
    assert (code, output) == (0, f"Wrote {path}. Run it: stargate run short")
    assert path.read_text() == EXPERIMENT + (
        "attributes:\n  name: short\n  like: base\n  experiment:\n    simulation:\n"
        "      max_turns: 1\n    training:\n      epochs: 3\n    judge: null\n"
        "    selection:\n      margin: 1e-1\n"
    )
    assert new("shorter", "--from", "short")[0] == 0
    experiments = load_project(folder=folder).experiments
    assert experiments["shorter"] == experiments["short"]
    assert experiments["short"].training.epochs == 3
    assert experiments["short"].selection.margin == 0.1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("My", "--from", "base"), "'My' cannot name an experiment; use small letters"),
        (("ablations", "--from", "base"), "'ablations' cannot name an experiment"),
        (("base", "--from", "base"), "The name 'base' is taken"),
        (("folder", "--from", "base"), "folder/defs.yaml is there already; choose another name."),
        (("a", "--from", "nobody"), "The experiment a is like 'nobody', which is not declared"),
        (("a", "--from", "base", "epochs"), "'epochs' is not of the form FIELD=VALUE"),
        (("a", "--from", "base", "seed=[1"), "The value of seed is not YAML: [1."),
        (("a", "--from", "base", "seed=-1"), "The experiment a is not valid: seed: Input should"),
        (("a", "--from", "base", "seed=1", "seed=2"), "seed is stated twice; state it once."),
        (("a", "--from", "base", "judge=null", "judge.name=x"), "judge.name is stated twice"),
        (("a", "--from", "base", "data_set=ungold"), "'ungold', which has no gold responses"),
    ],
)
def test_what_cannot_be_new_is_one_sentence_and_nothing_is_written(
    folder: Path, words: tuple[str, ...], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stargate_assets.definitions.project.DEFS", folder)
    declare(folder, "folder", like("base"))
    there = sorted(folder.rglob("defs.yaml"))
    code, output = new(*words)
    assert code != 0
    assert complaint in output
    assert "Traceback" not in output
    assert sorted(folder.rglob("defs.yaml")) == there
