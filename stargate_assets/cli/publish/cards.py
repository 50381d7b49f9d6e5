"""README.md of what is published, with the front matter that the Hub reads."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import polars as pl
import yaml

from stargate_assets.cli.publish.base_model import BaseModel
from stargate_assets.cli.text_templates import text_templates
from stargate_assets.config.data_set import DATA_TABLES, DataSet
from stargate_assets.config.experiment import Experiment, Role
from stargate_assets.config.model_spec import public_label
from stargate_assets.method.arms import BASE, Arm, Reference
from stargate_assets.method.plan import SPLITS
from stargate_assets.method.raters import raters_win_rate
from stargate_assets.models.bundled import INSTALL
from stargate_assets.reporting import quality
from stargate_assets.reporting.answers import answer_estimates
from stargate_assets.reporting.judges import judge_grids
from stargate_assets.reporting.metrics import metric_labels
from stargate_assets.reporting.quality import Grid
from stargate_assets.reporting.raters import (
    HUMAN_JUDGEMENTS,
    live_ratings,
    nameless_grids,
    ratings,
)
from stargate_assets.reporting.summary import summary
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.storage.schemas import SCHEMAS, table_columns, table_description

TASK = "text-generation"
TAGS = ["star-gate", "clarifying-questions"]
JUDGED = ("win_rates", "judgements", "judge_audit")
DIGITS = 4
"""Of the figures that machines read."""
Row = Mapping[str, Any]


def _markdown_text(text: object) -> str:
    """A text in which Markdown and HTML mean nothing."""
    plain = str(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return plain.replace("\n", "<br>")


def markdown_table(grid: Grid) -> str:
    """A table of the report."""
    texts = [[_markdown_text(cell) for cell in row] for row in grid.rows]
    rows = [grid.head, ["---"] * len(grid.head), *texts]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


_CARDS = text_templates("stargate_assets.cli.publish")
_CARDS.filters |= {"table": markdown_table, "text": _markdown_text}


def of_policy(tables: ExperimentTables, policy: int) -> ExperimentTables:
    """The tables of the base model and one policy alone, in which models that are directories of
    this machine have their last name.
    """
    frames = {
        table: frame.filter(pl.col("iteration").is_in([BASE, policy]))
        if table in ("report", "responses", *JUDGED)
        else frame
        for table, frame in tables.frames.items()
    }
    if HUMAN_JUDGEMENTS in frames:
        frames[HUMAN_JUDGEMENTS] = frames[HUMAN_JUDGEMENTS].filter(
            iteration=policy, reference_iteration=BASE
        )
    for table in JUDGED:
        if table in frames:
            judges = {label: public_label(label) for label in frames[table]["judge"].unique()}
            frames[table] = frames[table].with_columns(pl.col("judge").replace(judges))
    return replace(tables, frames=frames, experiment=_publicly_named(tables.experiment))


def _publicly_named(experiment: Experiment) -> Experiment:
    def named(roles: Iterable[Role]) -> tuple[Role, ...]:
        return tuple(r.model_copy(update={"name": public_label(r.label)}) for r in roles)

    judges = named(experiment.judges)
    players = named(experiment.evaluation.roleplayers)
    changed = {"judge": judges[0], "other_judges": judges[1:]} if judges else {}
    evaluation = experiment.evaluation.model_copy(update={"roleplayers": players})
    changed |= {"roleplayers": named(experiment.roleplayers), "evaluation": evaluation}
    return experiment.model_copy(update=changed)


def render_model_card(
    tables: ExperimentTables, policy: int, base: BaseModel, data_set: DataSet, *, adapter: bool
) -> str:
    """The card of a policy. `tables` are `of_policy`."""
    from huggingface_hub import EvalResult, ModelCardData

    experiment = tables.experiment
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=experiment.data_set,
            dataset_name=experiment.data_set,
            dataset_split="test",
            **figure,
        )
        for figure in [
            *_win_rates(tables, policy),
            *_win_rates_by_people(tables),
            *_estimates(tables, policy),
        ]
    ]
    front = ModelCardData(
        base_model=base.name if base.public else None,
        base_model_relation=("adapter" if adapter else "finetune") if base.public else None,
        library_name="peft" if adapter else "transformers",
        pipeline_tag=TASK,
        tags=TAGS,
        model_name=f"{tables.name}, policy {policy}",
        eval_results=results,
        ignore_metadata_errors=False,
    )
    by_people = nameless_grids(tables, policy)
    (trained,) = tables.frame("checkpoints").filter(iteration=policy - 1).to_dicts()
    return _CARDS.get_template("model_card.md.j2").render(
        front=front.to_yaml(),
        name=tables.name,
        policy=policy,
        base=base,
        adapter=adapter,
        install=INSTALL,
        experiment=experiment,
        license=data_set.license,
        sources=_sources(data_set),
        counts=_data_counts(tables),
        trained=trained,
        summary=summary(tables),
        grids=[
            *quality.estimates(tables),
            *quality.decomposition(tables),
            *quality.breakdown(tables),
            *answer_estimates(tables.frame("report")),
            *judge_grids(tables),
            *by_people,
        ],
        by_people=bool(by_people),
        left_out=quality.data_quality(tables),
        digest=experiment.digest(),
    )


def _win_rates(tables: ExperimentTables, policy: int) -> Iterable[dict[str, Any]]:
    """Every win rate of a policy, for machines."""
    rows = tables.tested("win_rates").filter(iteration=policy, dimension="all")
    for row in rows.drop_nulls("win_rate").to_dicts():
        arm, reference = Arm(row["arm"]), Reference(row["reference"])
        yield _figure(
            "win_rate",
            f"win rate: {arm.label}, against: {reference.label}; judged by {row['judge']}",
            row["win_rate"],
            row,
            ("low", "high", "pairs"),
        )


def _win_rates_by_people(tables: ExperimentTables) -> Iterable[dict[str, Any]]:
    """The win rates by people of `of_policy`, for machines."""
    for how, rated in (("read", ratings(tables)), ("talked with both", live_ratings(tables))):
        for of_both in rated.values():
            found = asdict(raters_win_rate(of_both))
            found["pairs"] = len({rating.comparison.pair.key for rating in of_both})
            name = f"win rate against the base model, by people who {how}"
            yield _figure(
                "human_win_rate", name, found["win_rate"], found, ("low", "high", "pairs")
            )


def _estimates(tables: ExperimentTables, policy: int) -> Iterable[dict[str, Any]]:
    """Every mean and gain of a policy, for machines."""
    labels = metric_labels()
    for row in tables.frame("report").filter(iteration=policy).to_dicts():
        arm = "" if row["arm"] is None else f": {Arm(row['arm']).label}"
        columns = ("low", "high", "gain", "gain_low", "gain_high", "pairs")
        name = f"{labels[row['metric']]}{arm}"
        yield _figure(row["metric"], name, row["mean"], row, columns)


def _figure(kind: str, name: str, value: float, row: Row, columns: Sequence[str]) -> dict[str, Any]:
    given = {c: round(row[c], DIGITS) for c in columns if row[c] is not None}
    return {
        "metric_type": kind,
        "metric_name": name,
        "metric_value": round(value, DIGITS),
        "metric_args": given,
    }


def _data_counts(tables: ExperimentTables) -> Grid:
    """The rows of the data set, by split."""
    rows = [
        [split, *(str(tables.frame(table).filter(split=split).height) for table in DATA_TABLES)]
        for split in SPLITS
    ]
    return Grid("Data", ["split", *(table.replace("_", " ") for table in DATA_TABLES)], rows)


def _sources(data_set: DataSet) -> list[str]:
    """The published data sets that rows are of."""
    of_hub = {s.hub.repository for s in data_set.sources() if s.hub is not None}
    return sorted(of_hub | {s.origin for s in data_set.sources() if s.origin is not None})


def render_data_card(tables: ExperimentTables, data_set: DataSet) -> str:
    """The card of a data set, with what `datasets` needs to load it."""
    name = tables.experiment.data_set
    front: dict[str, Any] = {"pretty_name": name, "tags": TAGS}
    if data_set.license is not None:
        front["license"] = data_set.license
    front["configs"] = [
        {
            "config_name": table,
            "data_files": [
                {"split": split, "path": f"{table}/{split}.parquet"} for split in SPLITS
            ],
        }
        for table in data_set.tables
    ]
    gold = tables.frame("gold_responses")
    oracle = data_set.oracle and public_label(data_set.oracle.model.model)
    writer = data_set.persona_writer and public_label(data_set.persona_writer.model.model)
    return _CARDS.get_template("data_set_card.md.j2").render(
        front=yaml.safe_dump(front, sort_keys=False),
        name=name,
        license=data_set.license,
        sources=_sources(data_set),
        counts=_data_counts(tables),
        columns={
            table: Grid(
                table_description(SCHEMAS[table]),
                ["column", "meaning"],
                [[column.name, column.description] for column in table_columns(SCHEMAS[table])],
            )
            for table in data_set.tables
        },
        oracle=oracle,
        writer=writer,
        task_writer=data_set.task_writer and public_label(data_set.task_writer.model.model),
        generated=gold.filter(source="generated").height,
        recorded=gold.filter(source="recorded").height,
        excluded=gold["exclusion"].count(),
    )
