"""An experiment as an environment that other people's trainers can use: an installable package with
its data, and the parts of `method/` that it needs, so that nothing of this project need be
installed.
"""

import json
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from stargate_assets.cli.environment.files.players import SPLITS
from stargate_assets.cli.text_templates import text_templates
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.model_spec import public_label
from stargate_assets.method.plan import TRAIN_SPLITS
from stargate_assets.pipeline.assets.rows import gold_texts, pairs_from_rows
from stargate_assets.reporting.tables import ExperimentTables

FILES = Path(__file__).parent / "files"
_METHOD = "stargate_assets.method"
_OWN = "stargate_assets.cli.environment.files"
_IMPORTED = re.compile(rf"{re.escape(_METHOD)}\.(\w+)")
_TEMPLATES = text_templates("stargate_assets.cli.environment")


def module_name(experiment: str) -> str:
    """What the package is imported as."""
    return f"star_gate_{re.sub(r'[^a-z0-9]', '_', experiment.lower())}"


def write_environment(tables: ExperimentTables, directory: Path) -> dict[str, int]:
    """Write the package of an experiment; returns the rows of its files of data, by their path."""
    module = module_name(tables.name)
    package = directory / module
    shutil.rmtree(package, ignore_errors=True)
    counts = _write_data(tables, package / "data")
    _write_code(package, module)
    named = {
        "module": module,
        "name": module.replace("_", "-"),
        "experiment": tables.name,
        "data_set": tables.experiment.data_set,
        "digest": tables.experiment.digest(),
        "scorer": public_label(tables.experiment.questioner.label),
        "roleplayers": {public_label(r.model.label) for r in tables.experiment.roleplayers},
        "counts": counts,
    }
    for template, file in (("project.toml.j2", "pyproject.toml"), ("card.md.j2", "README.md")):
        text = _TEMPLATES.get_template(template).render(named)
        (directory / file).write_text(f"{text}\n", encoding="utf-8")
    return {f"{module}/data/{file}": count for file, count in counts.items()}


def _write_data(tables: ExperimentTables, directory: Path) -> dict[str, int]:
    directory.mkdir(parents=True)
    settings = json.dumps(_settings(tables.experiment), indent=2, ensure_ascii=False)
    (directory / "settings.json").write_text(f"{settings}\n", encoding="utf-8")
    counts: dict[str, int] = {}
    for split in SPLITS:
        among = TRAIN_SPLITS if split == "train" else (split,)
        rows = [row for one in among for row in _dialogues(tables, one)]
        lines = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
        (directory / f"{split}.jsonl").write_text(lines, encoding="utf-8")
        counts[f"{split}.jsonl"] = len(rows)
    return counts


def _dialogues(tables: ExperimentTables, split: str) -> Iterator[dict[str, Any]]:
    """The pairs of a split that have a gold response to compare with."""
    tasks, personas, gold = (
        tables.frame(table).filter(split=split) for table in ("tasks", "personas", "gold_responses")
    )
    texts = gold_texts(gold)
    for pair in pairs_from_rows(tasks, personas):
        if pair.key in texts:
            yield {
                "split": split,
                "task_id": pair.task.task_id,
                "task": pair.task.text,
                "kind": pair.task.kind,
                "persona_id": pair.persona.persona_id,
                "name": pair.persona.name,
                "persona": pair.persona.text,
                "statements": pair.persona.stated,
                "third_person": pair.persona.third_person,
                "gold_response": texts[pair.key],
            }


def _settings(experiment: Experiment) -> dict[str, Any]:
    """What the experiment says of conversations, but which models hold them."""
    stated = experiment.simulation
    return {
        "seed": experiment.seed,
        "max_turns": stated.max_turns,
        "asking": {
            "max_tokens": stated.question_tokens,
            "temperature": stated.temperature,
            "top_p": stated.top_p,
        },
        "roleplayers": {
            public_label(r.label): r.model_dump(include={"replies", "temperature", "answer_tokens"})
            for r in experiment.roleplayers
        },
        "prompts": dict(experiment.told.replaced),
    }


def _write_code(package: Path, module: str) -> None:
    """The code of the environment, and what of the method it uses, as one package."""
    method = package / "method"
    own = {package / path.name: path.read_text(encoding="utf-8") for path in FILES.glob("*.py")}
    code, waiting = dict(own), list(own.values())
    while waiting:
        for name in _IMPORTED.findall(waiting.pop()):
            if method / f"{name}.py" not in code:
                code[method / f"{name}.py"] = text = (files(_METHOD) / f"{name}.py").read_text()
                waiting.append(text)
    code[method / "__init__.py"] = '"""The method, as in stargate-assets."""\n'
    shutil.copytree(str(files(_METHOD) / "prompts"), method / "prompts")
    for path, text in code.items():
        changed = text.replace(_OWN, module).replace(_METHOD, f"{module}.method")
        path.write_text(changed, encoding="utf-8")
