"""The documentation for users: links lead somewhere, YAML is valid, and commands work."""

import csv
import re
import shlex
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from click.testing import CliRunner
from dagster._cli.asset import asset_cli

from stargate_assets.cli.main import main
from stargate_assets.config.data_set import DataSet
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.machine import Machine
from stargate_assets.config.prompts import read_prompts
from stargate_assets.definitions.project import DEFS, load_project
from stargate_assets.pipeline.assets.versions import data_versions
from stargate_assets.storage.bookkeeping import Calls
from stargate_assets_tests.conftest import ROOT, SCRIPTED
from stargate_assets_tests.mixed_scripts import write_mixed_scripts
from stargate_assets_tests.reporting import frames

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
Need = Literal["nothing", "model or network", "server"]
COMMANDS: dict[Need, tuple[str, ...]] = {
    "nothing": (
        r"stargate --help",
        r"stargate (init (?!my_people)|new |sql |export |report ).*",
        r"stargate status (embedded|star_gate|my_experiment_short)",
        r"stargate compare embedded my_experiment",
        r"stargate completions budget.*",
        r"stargate run everyday_mini",
        r"stargate prompts overnight --pair 0",
        r"dagster asset materialize .* --select group:everyday_mini .*",
    ),
    "model or network": (
        r"make (demo|test)",
        r"stargate (estimate|evaluate) .*",
        r"stargate prompts embedded --raw",
        r"stargate (headroom everyday_mini|init my_people .*)",
        r"stargate run --all .*",
        r"stargate run embedded --.*",
        r"stargate (chat|publish) embedded.*",
        r"stargate run overnight",
        r"stargate run star_gate --max-dollars .*",
        r"stargate run (everyday_smoke|my_data|my_experiment|my_experiment_short)",
        r"stargate compare star_gate .*",
        r"dagster asset materialize .* --select group:embedded and .*",
        r"python benchmarks/.*",
        r"pip install .*",
        r"(export \w+=\S+ ?)+",
        r"\. \.venv/bin/activate",
    ),
    "server": (
        r"make ui",
        r"vllm serve .*",
        r"stargate (serve|compare-blind) .*",
        r"stargate completions copy .*",
    ),
}
"""Every command line of the documentation, by what it needs to run here. Who documents a new one
says here whether the test can run it.
"""
OF_AN_EXPERIMENT = ("run", "status", "estimate", "report", "export", "compare")
OF_AN_EXPERIMENT += ("chat", "compare-blind", "publish", "serve", "evaluate")
"""Commands that name experiments."""
MEASURED = ("embedded", "my_experiment")
"""Experiments whose tables are stored, so that commands that show results have some to show."""


@dataclass(frozen=True)
class Block:
    """What stands between fences, and where."""

    page: str
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command line without its comment, as a shell would split it."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {self.line}"

    @property
    def line(self) -> str:
        return " ".join(self.words)


def blocks(pages: Sequence[Path] = PAGES) -> Iterator[Block]:
    for page in pages:
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.M):
            yield Block(page.name, found[1], found[2])


def commands_of(block: Block) -> Iterator[Command]:
    """A quotation mark that is open, or a backslash, continues a command in the next line."""
    pending = ""
    for line in block.text.splitlines():
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        try:
            words = shlex.split(pending, comments=True)
        except ValueError:  # no closing quotation
            pending += " "
            continue
        pending = ""
        if words:
            skipped = next(n for n, word in enumerate(words) if not re.match(r"[A-Z_]+=", word))
            yield Command(block.page, tuple(words[skipped:]))
    assert not pending, f"{block.page}: {pending} does not end"


COMMAND_LINES = [c for block in blocks() if block.language == "sh" for c in commands_of(block)]
YAML_BLOCKS = [block for block in blocks() if block.language == "yaml"]


def is_declaration(block: Block) -> bool:
    return block.language == "yaml" and block.text.startswith("type:")


def needs(command: Command) -> list[Need]:
    return [
        need
        for need, patterns in COMMANDS.items()
        for pattern in patterns
        if re.fullmatch(pattern, command.line)
    ]


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.M)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "warehouse" / "README.md"], ids=lambda p: p.stem)
def test_links_and_images_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.M)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(there), f"{page.name}: {target}"


def test_the_readme_leads_to_every_page_and_is_short() -> None:
    text = PAGES[0].read_text()
    assert [page.name for page in PAGES[1:] if f"{page.name})" not in text] == []
    assert len(text.split()) <= 1300


@pytest.mark.parametrize("command", COMMAND_LINES, ids=str)
def test_a_command_is_known_and_its_words_exist(command: Command) -> None:
    assert len(needs(command)) == 1, f"say in COMMANDS what this needs: {command}"
    match command.words:
        case ("stargate", "--help"):
            pass
        case ("stargate", name, *arguments):
            main.commands[name].make_context(name, [*arguments])
        case ("make", *targets):
            made = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
            assert set(targets) <= set(made)
        case ("python", program, *_):
            assert (ROOT / program).is_file()
        case ("pip", "install", requirement):
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            extra = requirement.removeprefix(f"{project['name']}[").removesuffix("]")
            assert extra in project["optional-dependencies"]
        case _:
            pass


def test_every_experiment_and_data_set_that_is_named_is_declared() -> None:
    project = load_project()
    known = {*project.experiments, *project.data_sets}
    known |= {
        yaml.safe_load(b.text)["attributes"]["name"] for b in YAML_BLOCKS if is_declaration(b)
    }
    named: set[str] = set()
    for command in COMMAND_LINES:
        match command.words:
            case ("stargate", "init" | "new", name, *_):
                known.add(name)
            case ("stargate", name, *_) if name in OF_AN_EXPERIMENT:
                parsed = parameters(command)
                named |= {n for key in ("name", "experiment") if (n := parsed.get(key))}
                named |= set(parsed.get("experiments", ()))
            case _:
                pass
    for page in PAGES:
        found = re.findall(r"`((?:embedded|star_gate|everyday)\w*)`", page.read_text())
        named |= {name.removesuffix("_walk") for name in found}
    assert len(named) > 20
    assert named <= known


def parameters(command: Command) -> dict[str, Any]:
    name, *arguments = command.words[1:]
    return main.commands[name].make_context(name, arguments).params


@pytest.mark.parametrize(
    "block", [b for b in YAML_BLOCKS if not is_declaration(b)], ids=lambda b: b.page
)
def test_a_piece_of_yaml_is_valid(block: Block) -> None:
    stated = yaml.safe_load(block.text)
    if block.text.startswith("# machine.yaml"):
        Machine.model_validate(stated)
    elif set(stated) <= set(Experiment.model_fields):
        whole = {"data_set": "any", "questioner": SCRIPTED, "roleplayers": [{"model": SCRIPTED}]}
        Experiment.model_validate(read_prompts(whole | stated, ROOT / "defs.yaml"))
    else:
        DataSet.model_validate({"tasks": {"file": "any"}, "personas": {"file": "any"}} | stated)


@pytest.fixture
def project_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's directory with what comes along but for the ablations, which take long to load, a
    user's files, and results of `embedded`.
    """
    defs = shutil.copytree(DEFS, tmp_path / "defs", ignore=shutil.ignore_patterns("ablations"))
    monkeypatch.setattr("stargate_assets.definitions.project.DEFS", defs)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dagster.yaml", tmp_path)
    shutil.copy(ROOT / "machine.yaml", tmp_path)
    write_mixed_scripts(tmp_path, tasks=60, personas=24)
    tasks = (tmp_path / "tasks.csv").read_text(encoding="utf-8")
    (tmp_path / "questions.csv").write_text(tasks.replace("text", "query", 1), encoding="utf-8")
    with (tmp_path / "personas.csv").open(encoding="utf-8", newline="") as people:
        names = [row["name"] for row in csv.DictReader(people)]
    with (tmp_path / "gold_responses.csv").open("w", encoding="utf-8", newline="") as file:
        gold = csv.writer(file)
        gold.writerow(["task", "persona", "text"])
        for row in csv.DictReader(tasks.splitlines()):
            gold.writerows([row["text"], name, "Start small."] for name in names)
    store_results("embedded")
    return tmp_path


def store_results(name: str) -> None:
    """The tables that a run of the experiment would have left."""
    project = load_project()
    experiment = project.experiments[name]
    versions = data_versions(project.data_sets[experiment.data_set])
    drawn = replace(frames.tables(name, tasks=2, people=2), experiment=experiment)
    frames.store(drawn, project.warehouse, versions)
    project.warehouse.write_calls(lambda: Calls(frames.usage_rows(name)))


def declare(directory: Path, block: Block) -> None:
    name = yaml.safe_load(block.text)["attributes"]["name"]
    (directory / "defs" / name).mkdir()
    (directory / "defs" / name / "defs.yaml").write_text(block.text)
    load_project()
    if name in MEASURED:
        store_results(name)


def run(command: Command, elsewhere: Path) -> str:
    """What is wrong with it, if anything. Dagster makes a data set of which there are results, so
    it works in a directory of its own.
    """
    if command.words[0] == "stargate":
        result = CliRunner().invoke(main, command.words[1:])
    else:
        assert command.words[:2] == ("dagster", "asset")
        with chdir(elsewhere):
            result = CliRunner().invoke(asset_cli, command.words[2:])
    return "" if result.exit_code == 0 else f"{result.output} {result.exception!r}"


@pytest.mark.slow
def test_who_reads_on_and_types_what_is_shown_gets_no_error(
    project_directory: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    faults: list[str] = []
    seen: set[str] = set()
    for block in blocks():
        if is_declaration(block):
            declare(project_directory, block)
        for command in commands_of(block) if block.language == "sh" else ():
            if needs(command) == ["nothing"] and command.line not in seen:
                seen.add(command.line)
                fault = run(command, elsewhere)
                faults += [f"{command}\n{fault}"] if fault else []
    assert len(seen) > 20
    assert not faults, "\n\n".join(faults)


def test_a_declaration_in_the_readme_is_ten_lines_at_most() -> None:
    shown = [b for b in YAML_BLOCKS if is_declaration(b) and b.page == "README.md"]
    assert shown
    assert max(len(block.text.splitlines()) for block in shown) <= 10
