"""One train cell of `star_gate` at the paper's size or a multiple of it, without models:
`.venv/bin/python benchmarks/paper_size.py [--times 8]`

12,500 pairs x 10 conversations, or so many times more people. Every role is played by the
`scripted` engine, so what is measured is this project: prompts, the completion store, tables and
checks. The cell stops before its training step. Prints, of each table, its seconds, those of the
processor, and the most memory that the process had (Linux).
"""

import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import dagster as dg
from rich.console import Console

from stargate_assets.config.data_set import DATA_TABLES, DataSet
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project, assemble, load_project
from stargate_assets.method.text import sentences
from stargate_assets.pipeline.assets.lineage import planned_tables

EXPERIMENT, SPLIT, CELL = "star_gate", "train_a", "0|train_a"
SCRIPTED = ModelSpec(engine="scripted", model="any")
console = Console()


def scripted_experiment(stated: Experiment) -> Experiment:
    """The same experiment, without models."""
    roleplayers = tuple(r.model_copy(update={"model": SCRIPTED}) for r in stated.roleplayers)
    return stated.model_copy(update={"questioner": SCRIPTED, "roleplayers": roleplayers})


def scripted_data_set(stated: DataSet, directory: Path, times: float) -> DataSet:
    """The same data set, without models, and with so many times as many people in the split."""
    assert stated.oracle is not None and stated.personas is not None
    people = [json.loads(line) for line in stated.personas.file[0].read_text().splitlines()]
    asked = [person for person in people if person["split"] == SPLIT]
    others = [person for person in people if person["split"] != SPLIT]
    more = [mix_sentences(asked, number) for number in range(round(len(asked) * times))]
    file = directory / "personas.jsonl"
    file.write_text("".join(json.dumps(person) + "\n" for person in others + more))
    return stated.model_copy(
        update={
            "personas": stated.personas.model_copy(update={"file": (file,)}),
            "oracle": stated.oracle.model_copy(update={"model": SCRIPTED}),
        }
    )


def mix_sentences(people: Sequence[dict[str, str]], number: int) -> dict[str, str]:
    """The people themselves, and after them others, who have a sentence of each of several."""
    step, first = divmod(number, len(people))
    of = [sentences(people[(first + step * i) % len(people)]["text"]) for i in range(9)]
    said = [theirs[i] for i, theirs in enumerate(of) if i < len(theirs)]
    return {"split": SPLIT, "name": people[first]["name"], "text": " ".join(said)}


def scripted_project(root: Path, times: float) -> Project:
    """`star_gate` and its data set alone, in a warehouse of their own."""
    stated = load_project(root=root)
    experiment = scripted_experiment(stated.experiments[EXPERIMENT])
    name = experiment.data_set
    return assemble(
        {name: scripted_data_set(stated.data_sets[name], root, times)},
        {EXPERIMENT: experiment},
        root,
    )


@click.command()
@click.option("--times", default=1.0, help="8 are 10^6 conversations.")
def main(times: float) -> None:
    """Measure a train cell at a multiple of the paper's size."""
    with tempfile.TemporaryDirectory() as directory:
        project = scripted_project(Path(directory), times)
        measure_cell(project)
        disk = sum(p.stat().st_size for p in Path(directory).rglob("*") if p.is_file()) / 2**30
        console.print(f"{project.models.usage.made:,} calls made; {disk:.2f} GiB on disk")
    os._exit(0)  # see stargate_assets.cli.main.entry


def measure_cell(project: Project) -> None:
    """Make the data set's split and the cell's tables, and print what each took."""
    data_set = project.experiments[EXPERIMENT].data_set
    job = project.definitions.get_repository_def().get_implicit_global_asset_job_def()
    wanted = [(data_set, table, SPLIT) for table in DATA_TABLES]
    wanted += [
        (EXPERIMENT, table, CELL)
        for table in planned_tables("train", project.experiments[EXPERIMENT])[:-1]
    ]
    with dg.DagsterInstance.ephemeral() as instance:
        for schema, table, partition in wanted:
            forget_peak()
            started, cpu = time.perf_counter(), time.process_time()
            job.execute_in_process(
                instance=instance,
                asset_selection=[dg.AssetKey([schema, table])],
                partition_key=partition,
                run_config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
            )
            seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
            rows = project.warehouse.materializations(schema)[table, partition].rows
            console.print(
                f"{schema}.{table} {partition}: {rows:,} rows in {seconds:.0f} s, {cpu:.0f} s of "
                f"CPU, {peak_gib():.2f} GiB at most",
                soft_wrap=True,
            )


def forget_peak() -> None:
    """Let the most memory be measured from now on (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_gib() -> float:
    """The most resident memory since `forget_peak`, in GiB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


if __name__ == "__main__":
    main()
