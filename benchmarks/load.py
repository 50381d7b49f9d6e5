"""How long the asset graph of many experiments takes to load, beside as many plain assets.

`.venv/bin/python benchmarks/load.py` declares 10 and 45 experiments in a temporary directory, each
in a few lines, and loads them and as many assets and checks that do nothing, in turn. It prints
medians of five rounds, in seconds of CPU, so that a busy machine can be borne; imports come first.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

started = time.process_time()

import dagster as dg  # noqa: E402

from stargate_assets.definitions.project import DEFS, load_project  # noqa: E402

IMPORTS = time.process_time() - started
ROUNDS = 5
EXPERIMENT = """type: stargate_assets.pipeline.components.ExperimentComponent
attributes:
  name: {name}
  like: embedded
  experiment: {{seed: {seed}}}
"""


def declare(folder: Path, experiments: int) -> None:
    """As many experiments like `embedded`, itself among them, and its data set."""
    for name in ("embedded", "everyday_mini"):
        text = (DEFS / name / "defs.yaml").read_text()
        data = (DEFS.parent / "data").as_posix()
        (folder / name).mkdir(parents=True)
        (folder / name / "defs.yaml").write_text(text.replace("../../data", data))
    for seed in range(1, experiments):
        name = f"embedded_{seed}"
        (folder / name).mkdir()
        (folder / name / "defs.yaml").write_text(EXPERIMENT.format(name=name, seed=seed))


def load(folder: Path) -> dg.RepositoryDefinition:
    return loaded(load_project(folder=folder).definitions)


def loaded(definitions: dg.Definitions) -> dg.RepositoryDefinition:
    repository = definitions.get_repository_def()
    assert repository.asset_graph.get_all_asset_keys()
    return repository


def plain(assets: int, checks: int) -> dg.RepositoryDefinition:
    """As many that do nothing."""

    def asset(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"asset_{number}")
        def nothing() -> None: ...

        return nothing

    def check(number: int) -> dg.AssetChecksDefinition:
        @dg.asset_check(name=f"check_{number}", asset=f"asset_{number % assets}")
        def passes() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        return passes

    made = [*map(asset, range(assets))]
    return loaded(dg.Definitions(assets=made, asset_checks=[*map(check, range(checks))]))


def seconds(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


HEADINGS = ("experiments", "assets", "checks", "declared, s", "graph, s", "plain, s", "ratio")
print(f"imports: {IMPORTS:.2f} s")
print(*(f"{heading:>11}" for heading in HEADINGS))
for experiments in (10, 45):
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "project" / "defs"
        declare(folder, experiments)
        graph = load(folder).asset_graph
        assets, checks = len(graph.executable_asset_keys), len(graph.asset_check_keys)
        times = [
            (
                seconds(lambda folder=folder: load_project(folder=folder)),
                seconds(lambda folder=folder: load(folder)),
                seconds(lambda assets=assets, checks=checks: plain(assets, checks)),
            )
            for _ in range(ROUNDS)
        ]
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    figures = (*medians, medians[1] / medians[2])
    print(f"{experiments:>11} {assets:>11} {checks:>11}", *(f"{n:>11.2f}" for n in figures))
