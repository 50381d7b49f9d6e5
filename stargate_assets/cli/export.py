"""What leaves the project: tables, preference pairs and training dialogues, with a card that says
what they are.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl
import yaml

from stargate_assets.cli.driver import find_experiment
from stargate_assets.cli.environment.exporter import write_environment
from stargate_assets.cli.text_templates import text_templates
from stargate_assets.definitions.project import Project
from stargate_assets.method.conversation import Pair
from stargate_assets.method.errors import StargateError
from stargate_assets.method.examples import training_dialogues
from stargate_assets.method.language_model import Message
from stargate_assets.method.plan import SPLITS, TRAIN_SPLITS
from stargate_assets.method.preferences import comparisons
from stargate_assets.method.simulation import Cell
from stargate_assets.pipeline.assets.evaluation import read_evaluated_tables
from stargate_assets.pipeline.assets.report_page import experiment_tables
from stargate_assets.pipeline.assets.rows import (
    SAMPLE,
    conversations_from_rows,
    pair_key,
    pairs_from_rows,
    regularization_from_rows,
    sample_key,
)
from stargate_assets.reporting.tables import ExperimentTables

ExportFormat = Literal["parquet", "jsonl", "dpo", "sft", "verifiers"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
EXPORTS = "exports"
TRAIN_FILE = "train.jsonl"
LOWER_SCORE = "lower_log_prob"
"""Why an eligible conversation was rejected; the others' reason is their ineligibility."""
_CARD = text_templates("stargate_assets.cli")
Row = dict[str, Any]


class ExportError(StargateError):
    """There is nothing to export. The message says what to run."""


@dataclass
class ExportRows:
    """What a file holds, and what is not in it, by reason."""

    rows: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def export(project: Project, name: str, kind: ExportFormat, to: Path | None) -> list[Path]:
    """Write an experiment's done cells into a directory; returns the files, the card last."""
    experiment = find_experiment(project, name)
    directory = to or project.warehouse.path.parent / EXPORTS / f"{name}-{kind}"
    if kind == "verifiers":
        return _export_environment(project, name, directory)
    tables = read_evaluated_tables(project.warehouse, name, experiment)
    directory.mkdir(parents=True, exist_ok=True)
    if kind in ("parquet", "jsonl"):
        counts = _write_tables(tables, kind, directory)
        left_out: Counter[str] = Counter()
    else:
        made = make_preference_rows(tables) if kind == "dpo" else make_dialogue_rows(tables)
        if not made.rows:
            raise ExportError(
                f"{name} has no conversation to learn from yet; train a policy first: "
                f"stargate run {name}."
            )
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made.rows)
        (directory / TRAIN_FILE).write_text(lines, encoding="utf-8")
        counts, left_out = {TRAIN_FILE: len(made.rows)}, made.left_out
    card = directory / "README.md"
    card.write_text(render_card(tables, kind, counts, left_out), encoding="utf-8")
    return [*(directory / file for file in counts), card]


def _export_environment(project: Project, name: str, directory: Path) -> list[Path]:
    """The package that trainers install. It needs the data set alone, and no cell."""
    experiment = project.experiments[name]
    if missing := project.missing_splits(experiment.data_set, SPLITS):
        raise ExportError(
            f"Of the data set {experiment.data_set}, {', '.join(missing)} is not there as its "
            f"sources are now; make it first: stargate run {experiment.data_set}."
        )
    directory.mkdir(parents=True, exist_ok=True)
    tables = experiment_tables(project.warehouse, name, experiment)
    files = [*write_environment(tables, directory), "pyproject.toml", "README.md"]
    return [directory / file for file in files]


def _write_tables(tables: ExperimentTables, kind: ExportFormat, directory: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for table, frame in tables.frames.items():
        file = f"{table}.{kind}"
        if kind == "parquet":
            frame.write_parquet(directory / file)
        else:
            frame.write_ndjson(directory / file)
        counts[file] = frame.height
    return counts


def make_preference_rows(tables: ExperimentTables) -> ExportRows:
    """Each conversation that was not kept against every kept one of its pair. `margin` is the
    difference of their log p(gold response) in nats, null for an ineligible one, which has none.
    """
    made = ExportRows()
    told = tables.experiment.told
    scores = tables.frame("gold_log_probs").filter(pl.col("condition") == "experimental")
    for cell in list_trained_cells(tables):
        best = filter_cell(tables.frame("best_conversations"), cell)
        score = _index_by_sample(filter_cell(scores, cell), "log_prob")
        frame = filter_cell(tables.frame("conversations"), cell)
        reasons = _index_by_sample(frame, "ineligibility")
        kept_keys = set(_index_by_sample(best, "rank"))
        talked = conversations_from_rows(frame, _pairs(tables, cell.split))
        kept = [c for c in talked if c.key in kept_keys]
        others = [c for c in talked if c.key not in kept_keys]
        of_kept = {c.pair.key for c in kept}
        if alone := sum(c.pair.key not in of_kept for c in others):
            made.left_out["no conversation of the pair was kept"] += alone
        for compared in comparisons(kept, others, told):
            better, worse = compared.kept, compared.rejected
            found, key = compared.preference, worse.key
            if found is None:
                made.left_out["no turn asks differently after the same dialogue"] += 1
                continue
            if reasons[key] is None and key not in score:
                made.left_out["not scored"] += 1
                continue
            above = score[better.key]
            made.rows.append(
                {
                    "prompt": _message_dicts(found.prompt),
                    "chosen": _message_dicts([found.chosen]),
                    "rejected": _message_dicts([found.rejected]),
                    "turn": found.turn,
                    "reason": reasons[key] or LOWER_SCORE,
                    "margin": above - score[key] if key in score else None,
                    **pair_key(cell, worse.pair.key),
                    "chosen_sample": better.sample,
                    "rejected_sample": worse.sample,
                }
            )
    return made


def make_dialogue_rows(tables: ExperimentTables) -> ExportRows:
    """The training dialogues of every training cell. Their user turns carry no loss in this
    project's own training.
    """
    made, told = ExportRows(), tables.experiment.told
    for cell in list_trained_cells(tables):
        frames = (
            filter_cell(tables.frame(table), cell)
            for table in ("conversations", "best_conversations", "regularization_responses")
        )
        conversations, best, learnt_rows = frames
        selected = conversations.join(best, on=SAMPLE, how="semi")
        chosen = conversations_from_rows(selected, _pairs(tables, cell.split))
        learnt = {r.conversation: r for r in regularization_from_rows(learnt_rows, chosen)}
        for conversation in chosen:
            response = learnt.get(conversation)
            responses = [response] if response else []
            for dialogue in training_dialogues([conversation], responses, told):
                made.rows.append(
                    {
                        "messages": _message_dicts(dialogue.messages),
                        "kind": dialogue.kind,
                        **sample_key(cell, conversation),
                    }
                )
    return made


def list_trained_cells(tables: ExperimentTables) -> list[Cell]:
    """The cells that something was selected from. The test split is never among them."""
    best = tables.frame("best_conversations").filter(pl.col("split").is_in(TRAIN_SPLITS))
    cells = best.select("iteration", "split").unique().sort("iteration", "split")
    return [Cell(iteration, split) for iteration, split in cells.iter_rows()]


def filter_cell(frame: pl.DataFrame, cell: Cell) -> pl.DataFrame:
    return frame.filter(iteration=cell.iteration, split=cell.split)


def render_card(
    tables: ExperimentTables,
    kind: ExportFormat,
    counts: dict[str, int],
    left_out: Counter[str],
) -> str:
    """README.md of an export, with the front matter that Hugging Face's `datasets` reads."""
    experiment = tables.experiment
    single = TRAIN_FILE in counts
    configs = [
        {
            "config_name": "default" if single else file.rpartition(".")[0],
            "data_files": file,
        }
        for file in counts
    ]
    front = {"tags": ["star-gate", "clarifying-questions", kind], "configs": configs}
    return _CARD.get_template("export_card.md.j2").render(
        front=yaml.safe_dump(front, sort_keys=False),
        kind=kind,
        name=tables.name,
        experiment=experiment,
        counts=counts,
        left_out=sorted(left_out.items()),
        digest=experiment.digest(),
        columns={
            table: ", ".join(f"`{column}`" for column in frame.columns)
            for table, frame in tables.frames.items()
        },
        excluded=tables.frame("gold_responses")["exclusion"].count(),
        checkpoints=list(tables.frame("checkpoints").sort("iteration").iter_rows(named=True)),
    )


def _pairs(tables: ExperimentTables, split: str) -> list[Pair]:
    return pairs_from_rows(
        tables.frame("tasks").filter(split=split), tables.frame("personas").filter(split=split)
    )


def _index_by_sample(frame: pl.DataFrame, column: str) -> dict[tuple[str, str, int], Any]:
    rows = frame.select(*SAMPLE, column).iter_rows()
    return {(task, persona, sample): value for task, persona, sample, value in rows}


def _message_dicts(messages: Iterable[Message]) -> list[dict[str, str]]:
    return [asdict(message) for message in messages]
