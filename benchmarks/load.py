"""How long the project's asset graphs take to load, beside as many assets that do nothing.

`.venv/bin/python benchmarks/load.py` loads what each code location of workspace.yaml holds, and all
of it in one, as `stargate run` does; and the declarations alone, which is what `stargate status`
waits for. It prints medians of five rounds, in seconds of CPU, so that a busy machine matters
little; imports come first.
"""

import statistics
import time
from collections.abc import Callable

started = time.process_time()

import dagster as dg  # noqa: E402

from stargate_assets.definitions.project import load_project, project_definitions  # noqa: E402
from stargate_assets.pipeline.declarations import ABLATIONS, MAIN  # noqa: E402

IMPORTS = time.process_time() - started
ROUNDS = 5


def load_location(location: str | None) -> dg.RepositoryDefinition:
    """One code location from its files, or all of it for None."""
    return load_graph(project_definitions(load_project(), location))


def load_graph(definitions: dg.Definitions) -> dg.RepositoryDefinition:
    repository = definitions.get_repository_def()
    assert repository.asset_graph.get_all_asset_keys()
    return repository


def load_plain(assets: int, checks: int) -> dg.RepositoryDefinition:
    """As many assets and checks that do nothing."""

    def asset(number: int) -> dg.AssetsDefinition:
        @dg.asset(name=f"asset_{number}")
        def nothing() -> None: ...

        return nothing

    def check(number: int) -> dg.AssetChecksDefinition:
        @dg.asset_check(name=f"check_{number}", asset=f"asset_{number % assets}")
        def passes() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        return passes

    return load_graph(
        dg.Definitions(
            assets=[*map(asset, range(assets))], asset_checks=[*map(check, range(checks))]
        )
    )


def median_seconds(work: Callable[[], object]) -> float:
    rounds: list[float] = []
    for _ in range(ROUNDS):
        before = time.process_time()
        work()
        rounds.append(time.process_time() - before)
    return statistics.median(rounds)


print(f"imports {IMPORTS:.2f} s, declarations {median_seconds(load_project):.2f} s")
print(f"{'':>16}", *(f"{heading:>9}" for heading in ("assets", "checks", "graph, s", "plain, s")))
for location in (MAIN, ABLATIONS, None):
    graph = load_location(location).asset_graph
    counts = len(graph.executable_asset_keys), len(graph.asset_check_keys)
    of_graph = median_seconds(lambda location=location: load_location(location))
    of_plain = median_seconds(lambda counts=counts: load_plain(*counts))
    print(f"{location or 'both in one':>16}", *(f"{n:>9}" for n in counts), end=" ")
    print(f"{of_graph:>9.2f} {of_plain:>9.2f}")
