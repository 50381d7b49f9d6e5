"""What is published, read back by those that it is for."""

import ast
import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from datasets import load_dataset
from huggingface_hub import DatasetCard, ModelCard
from pytest_httpserver import HTTPServer

from stargate_assets.cli import driver
from stargate_assets.cli.main import main
from stargate_assets.cli.publish.base_model import find_base_model, public_label
from stargate_assets.cli.publish.cards import JUDGED, of_policy, render_model_card
from stargate_assets.cli.publish.hub import upload
from stargate_assets.cli.publish.publisher import (
    PublishError,
    publish_data_set,
    publish_policy,
)
from stargate_assets.config.machine import Machine
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project, load_project
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.engines.turns import turns
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.judging import Verdict
from stargate_assets.method.language_model import Message, ScoreRequest
from stargate_assets.models.bundled import DIRECTORY
from stargate_assets.pipeline.assets.evaluation import read_evaluated_tables
from stargate_assets.pipeline.assets.versions import data_versions
from stargate_assets.reporting.summary import summary
from stargate_assets.storage.checkpoints import publish as seal
from stargate_assets_tests.cli.adapters import write_adapter
from stargate_assets_tests.conftest import USE, write_data_set
from stargate_assets_tests.reporting import frames
from stargate_assets_tests.servers.stub_hub import StubHub, stub_hub

TASK, NAME = "What should I cook {{ tonight }}?", "Ana <b>"
TURNS = [("Who eats with you?", "My sister."), ("What do you like?", "Rice.\n")]
JUDGE = "/models of mine/oak"
DECLARED = f"""\
type: stargate_assets.pipeline.components.DataSetComponent
attributes:
  name: everyday_mini
  data_set:
    license: cc-by-4.0
    tasks: {{file: tasks.jsonl}}
    personas: {{file: personas.jsonl}}
    gold_responses: {{file: gold_responses.jsonl}}
---
type: stargate_assets.pipeline.components.ExperimentComponent
attributes:
  name: embedded
  experiment:
    data_set: everyday_mini
    iterations: 2
    questioner: {{model: bundled, dtype: float32}}
    roleplayers: [{{name: chooser, model: {{model: bundled}}, replies: chosen}}]
    training: {{method: lora}}
    judge: {{model: {{engine: scripted, model: {JUDGE}}}}}
"""
SECOND = Path("warehouse/checkpoints/embedded/1-train_b")
"""The checkpoint of policy 2."""
TOKEN = "hf_a_very_secret_key"  # noqa: S105


def make_project(root: Path, model: Path, width: int) -> Project:
    """A project whose second policy is an adapter of the model, which stands for the bundled one,
    and whose tables were drawn by a seed. The Judge has no name but its directory.
    """
    seal(shutil.copytree(model, root / "copy"), root / "warehouse" / "models" / DIRECTORY)
    write_data_set(defs := root / "defs" / "embedded")
    (defs / "defs.yaml").write_text(DECLARED)
    project = load_project(root=root / "warehouse", machine=Machine(), folder=defs.parent)
    write_adapter(aside := root / "aside", width)
    sha256 = seal(aside, root / SECOND)
    second = pl.when(iteration=1).then(pl.lit(sha256)).otherwise(pl.col("sha256"))
    changes = {table: {"judge": pl.lit(JUDGE)} for table in JUDGED}
    changes["checkpoints"] = {"sha256": second}
    drawn = frames.tables(tasks=3, people=2)
    changed = {t: rows.with_columns(**changes.get(t, {})) for t, rows in drawn.frames.items()}
    tables = replace(drawn, experiment=project.experiments["embedded"], frames=changed)
    frames.store(tables, project.warehouse, data_versions(project.data_sets["everyday_mini"]))
    return project


@pytest.fixture(scope="module")
def project(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return make_project(tmp_path_factory.mktemp("publish"), tiny_model, width=32)


@pytest.fixture(scope="module")
def published(project: Project) -> Path:
    return publish_policy(project, "embedded", None, None, merged=False)


@pytest.fixture(scope="module")
def merged(project: Project) -> Path:
    return publish_policy(project, "embedded", 2, None, merged=True)


def root_of(project: Project) -> Path:
    return project.warehouse.path.parent.parent


def policy_of(project: Project) -> Checkpoint:
    sealed = root_of(project) / SECOND
    return Checkpoint(sealed, json.loads((sealed / "manifest.json").read_text())["sha256"])


def example(directory: Path) -> Any:
    """The module that comes with a policy."""
    spec = importlib.util.spec_from_file_location("generation", directory / "generation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_adapter_names_a_base_model_that_others_find(project: Project, published: Path) -> None:
    assert published == root_of(project) / "warehouse" / "published" / "embedded-policy-2"
    files = {path.relative_to(published).as_posix() for path in published.rglob("*.*")}
    asked, answered = ("questioner", "opening", "asking"), ("respondent", "closing")
    weights = ("adapter_config.json", "adapter_model.safetensors")
    tokenizer = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")
    assert files == {
        *weights, *tokenizer, "README.md", "generation.py", "star_gate.json",
        *(f"prompts/{name}.j2" for name in (*asked, *answered)),
    }  # fmt: skip
    config = json.loads((published / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    sealed = root_of(project) / SECOND / "adapter_model.safetensors"
    assert (published / sealed.name).read_bytes() == sealed.read_bytes()
    told = project.experiments["embedded"].told
    for name in (*asked, *answered):
        assert (published / "prompts" / f"{name}.j2").read_text() == told.text(name)


@pytest.mark.parametrize("which", ["published", "merged"])
def test_nothing_of_this_machine_and_no_completion_is_in_it(
    which: str, project: Project, tiny_model: Path, request: pytest.FixtureRequest
) -> None:
    directory: Path = request.getfixturevalue(which)
    said = project.warehouse.query("SELECT unnest(answers) FROM embedded.conversations")
    private = {
        str(root_of(project).parent),
        str(Path.home()),
        str(tiny_model),
        str(Path(JUDGE).parent),
        *said.to_series().to_list(),
    }
    for file in (path for path in directory.rglob("*") if path.is_file()):
        content = file.read_bytes()
        assert [text for text in private if text.encode() in content] == [], file


def test_the_card_has_every_figure_with_its_interval(project: Project, published: Path) -> None:
    card = ModelCard.load(published / "README.md")
    experiment = project.experiments["embedded"]
    tables = read_evaluated_tables(project.warehouse, "embedded", experiment)
    found = {r.metric_name: (r.metric_value, r.metric_args) for r in card.data.eval_results}
    won = tables.tested("win_rates").filter(iteration=2, dimension="all")
    estimated = tables.frame("report").filter(iteration=2)
    assert len(card.data.eval_results) == won.height + estimated.height
    row = won.filter(arm="method", reference="base").row(0, named=True)
    name = (
        "win rate: policy asks and answers, against: the base model asks and answers; judged by oak"
    )
    interval = {"low": round(row["low"], 4), "high": round(row["high"], 4), "pairs": row["pairs"]}
    assert found[name] == (round(row["win_rate"], 4), interval)
    gained = estimated.filter(metric="experimental").row(0, named=True)
    value, interval = found["Q-experimental"]
    assert (value, interval["gain"]) == (round(gained["mean"], 4), round(gained["gain"], 4))
    assert (card.data.base_model, card.data.library_name) == (
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "peft",
    )
    shown = summary(of_policy(tables, 2))
    assert shown.figures
    for figure in shown.figures:
        assert f"| {figure.label} | {figure.value} | {figure.interval} |" in card.text
    for sentence in (*shown.findings, *shown.caveats):
        assert f"- {sentence}" in card.text
    assert "| licence of the base model | apache-2.0 |" in card.text
    assert "| licence of the data set | cc-by-4.0 |" in card.text
    assert "| examples | 28 conversations for their questions, 26 answers, 6" in card.text


def test_what_people_say_is_in_the_card_without_their_names(project: Project) -> None:
    """Zelda prefers policy 2 always."""
    experiment = project.experiments["embedded"]
    tables = read_evaluated_tables(project.warehouse, "embedded", experiment)
    rated = frames.human_judgements(tables, "Zelda", lambda first: Verdict.WIN)
    shown = of_policy(replace(tables, frames={**tables.frames, "human_judgements": rated}), 2)
    base = find_base_model(experiment.questioner)
    data_set = project.data_sets[experiment.data_set]
    card = ModelCard(render_model_card(shown, 2, base, data_set, adapter=True))
    (figure,) = (r for r in card.data.eval_results if r.metric_type == "human_win_rate")
    assert (figure.metric_value, figure.metric_args["pairs"]) == (1.0, 6)
    (row,) = (line for line in card.text.splitlines() if line.startswith("| 0 | 1 | 6 | 100"))
    assert len(row.strip("| ").split(" | ")) == 7  # the judge's win rate, agreement and kappa too
    assert "Zelda" not in card.content
    assert "only the verdicts of people say how people find it" in card.text


def test_weights_that_were_not_evaluated_are_not_published(
    project: Project, tmp_path: Path
) -> None:
    first = project.warehouse.path.parent / "checkpoints" / "embedded" / "0-train_a"
    write_adapter(tmp_path / "aside", 32)
    seal(tmp_path / "aside", first)
    with pytest.raises(PublishError, match="is not the one that was evaluated"):
        publish_policy(project, "embedded", 1, tmp_path / "out", merged=True)


def test_whole_weights_score_as_the_policy_does(project: Project, merged: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = project.experiments["embedded"].questioner
    checkpoint = policy_of(project)
    asked = ScoreRequest((Message("user", "What shall I eat?"),), "Who eats with you tonight?")
    ours = project.models.open(spec, USE, checkpoint).score([asked], "scoring")[0].log_probs
    base = project.models.open(spec, USE).score([asked], "scoring")[0].log_probs
    tokenizer: Any = AutoTokenizer.from_pretrained(merged)
    model: Any = AutoModelForCausalLM.from_pretrained(merged).eval()
    theirs = log_probs(model, tokenizer, [{"role": "user", "content": "What shall I eat?"}], asked)
    assert theirs == pytest.approx(ours, abs=1e-4)
    assert max(abs(a - b) for a, b in zip(ours, base, strict=True)) > 1e-3


def log_probs(
    model: Any, tokenizer: Any, messages: list[dict[str, str]], asked: ScoreRequest
) -> list[float]:
    """By transformers alone."""
    import torch

    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    said = tokenizer(asked.continuation, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logits = model(torch.tensor([before + said])).logits[0, len(before) - 1 : -1]
    return logits.float().log_softmax(-1)[range(len(said)), said].tolist()


def test_the_example_needs_transformers_and_peft_alone(published: Path) -> None:
    tree = ast.parse((published / "generation.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {
        n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names
    }
    roots = {str(name).partition(".")[0] for name in imported}
    assert roots - sys.stdlib_module_names == {"torch", "jinja2", "transformers", "peft"}


@pytest.mark.parametrize("heard", range(3))
@pytest.mark.parametrize("system", [True, False])
def test_the_example_shows_the_policy_what_it_was_trained_on(
    project: Project, published: Path, heard: int, system: bool
) -> None:
    module, told = example(published), project.experiments["embedded"].told
    module.SETTINGS["has_system_role"] = system
    pair = Pair(Task("t", TASK), Persona("p", NAME, "unseen"))
    conversation = Conversation(pair, 0)
    for question, reply in TURNS[:heard]:
        conversation = conversation.with_question(question, truncated=False).with_answer(reply)
    if heard:
        expected = turns(told.respondent_messages(conversation), system)
        assert module.respondent_messages(NAME, TASK, TURNS[:heard]) == expected
    else:
        expected = turns(told.negative_control_messages(pair), system)
        assert module.respondent_messages(NAME, TASK, []) == expected
    expected = turns(told.questioner_messages(conversation), system)
    assert module.questioner_messages(NAME, TASK, TURNS[:heard]) == expected


def test_the_example_asks_and_then_answers(
    merged: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = example(merged)
    module.SETTINGS["asking"] |= {"max_new_tokens": 4}
    module.SETTINGS["answering"]["max_new_tokens"] = 4
    monkeypatch.setattr("sys.argv", ["generation.py", TASK, "--name", NAME])
    monkeypatch.setattr("builtins.input", lambda _: "")
    module.main()
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("It says: ")


def test_a_data_set_is_what_datasets_loads(project: Project, tmp_path: Path) -> None:
    directory = publish_data_set(project, "embedded", tmp_path / "data")
    card = DatasetCard.load(directory / "README.md")
    assert card.data.license == "cc-by-4.0"
    for table in ("tasks", "personas", "gold_responses"):
        loaded = load_dataset(str(directory), table, cache_dir=str(tmp_path / "cache"))
        assert set(loaded) == {"train_a", "train_b", "test"}
        stored = project.warehouse.read("everyday_mini", table, [{"split": "test"}])
        assert pl.DataFrame(loaded["test"].to_list(), schema=stored.schema).equals(stored)
    private = (str(project.warehouse.path.parent.parent), str(Path.home()))
    assert [text for text in private if text in card.content] == []


@pytest.mark.parametrize(
    ("policy", "said"),
    [(0, "Policy 0 of embedded is the base model"), (7, "embedded has no policy 7")],
)
def test_what_is_not_there_is_not_published(project: Project, policy: int, said: str) -> None:
    with pytest.raises((PublishError, driver.DriverError), match=said):
        publish_policy(project, "embedded", policy, None, merged=True)


def test_an_adapter_of_a_directory_is_of_use_to_nobody(
    project: Project, tiny_model: Path, tmp_path: Path
) -> None:
    experiment = project.experiments["embedded"]
    changed = {"questioner": ModelSpec(model=str(tiny_model))}
    own = replace(project, experiments={"embedded": experiment.model_copy(update=changed)})
    with pytest.raises(PublishError, match="with --merged"):
        publish_policy(own, "embedded", None, tmp_path / "out", merged=False)
    assert not (tmp_path / "out").exists()


def test_a_directory_of_somebody_s_is_left_alone(project: Project, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(PublishError, match="is there already; name a directory"):
        publish_policy(project, "embedded", None, tmp_path, merged=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_licence_is_read_and_never_guessed(tmp_path: Path) -> None:
    spec = ModelSpec(model=str(tmp_path))
    assert find_base_model(spec).license is None
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n# license: gpl\n")
    found = find_base_model(spec)
    assert (found.license, found.name, found.public) == ("mit", tmp_path.name, False)
    (tmp_path / "README.md").write_text("# license: gpl\n")
    assert find_base_model(spec).license is None
    assert public_label("gpt-4") == "gpt-4"


@pytest.fixture
def hub(http: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubHub]:
    hub = stub_hub(http, TOKEN)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield hub
    http.clear()


def test_the_hub_gets_the_directory_and_keeps_it_private(hub: StubHub, merged: Path) -> None:
    assert upload(merged, "me/policy", "model", public=False) == f"{hub.url}/me/policy"
    assert (hub.repositories, hub.kinds) == ({"me/policy": True}, {"me/policy": "model"})
    written = {p.relative_to(merged).as_posix(): p for p in merged.rglob("*") if p.is_file()}
    assert hub.files["me/policy"] == {name: p.read_bytes() for name, p in written.items()}
    upload(merged, "me/policy", "model", public=False)
    hub.repositories["me/policy"] = False
    with pytest.raises(PublishError, match="is there already and public; say --public"):
        upload(merged, "me/policy", "model", public=False)


def test_a_key_that_the_hub_does_not_know_is_one_sentence(
    hub: StubHub, merged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    with pytest.raises(PublishError, match="did not take me/policy") as raised:
        upload(merged, "me/policy", "model", public=False)
    assert "hf_another" not in str(raised.value)
    assert hub.files == {}


def test_the_command_publishes(
    hub: StubHub, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("stargate_assets.definitions.project.DEFS", root_of(project) / "defs")
    monkeypatch.chdir(root_of(project))

    def call(*words: str) -> str:
        result = CliRunner().invoke(main, ["publish", "embedded", *words])
        assert result.exit_code == 0, result.output
        return result.output

    place = root_of(project) / "warehouse" / "published"
    assert f"Wrote {place / 'embedded-policy-2-merged'}" in call("--merged", "--dry-run")
    call("--data", "--to", "me/data", "--public", "--directory", str(tmp_path / "data"))
    assert hub.repositories == {"me/data": False}
    assert hub.kinds == {"me/data": "dataset"}
    assert "tasks/test.parquet" in hub.files["me/data"]
    nowhere = CliRunner().invoke(main, ["publish", "embedded"])
    assert (nowhere.exit_code, "Say where: --to ORG/NAME" in nowhere.output) == (2, True)


@pytest.mark.slow
def test_the_base_model_s_package_and_peft_score_as_the_policy_does(
    smollm: Path, tmp_path: Path
) -> None:
    project = make_project(tmp_path, smollm, width=576)
    module = example(publish_policy(project, "embedded", None, None, merged=False))
    model, tokenizer = module.load_policy()
    experiment = project.experiments["embedded"]
    conversation = Conversation(Pair(Task("t", TASK), Persona("p", NAME, "unseen")), 0)
    messages = experiment.told.questioner_messages(conversation)
    asked = ScoreRequest(messages, "Who eats with you tonight?")
    opened = project.models.open(experiment.questioner, USE, policy_of(project))
    ours = opened.score([asked], "scoring")[0].log_probs
    theirs = log_probs(model, tokenizer, module.questioner_messages(NAME, TASK, []), asked)
    assert theirs == pytest.approx(ours, abs=1e-3)
