"""How well a model judges: `python benchmarks/judges.py`.

The audit on gold responses of an experiment's Judge, by each of the methods that need scores alone,
on the training splits of `everyday_mini`: this persona's gold response against another's for the
same task. Prints accuracy with its interval, bias for a place, and seconds.
"""

import time
from pathlib import Path

from rich.console import Console

from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import load_project
from stargate_assets.method.audits import audit_pairs
from stargate_assets.method.judging import JudgeMethod, judge
from stargate_assets.method.language_model import Sampling
from stargate_assets.method.plan import TRAIN_SPLITS
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.win_rates import Judged, win_rate
from stargate_assets.models.bundled import BUNDLED
from stargate_assets.models.pool import ModelPool
from stargate_assets.pipeline.assets.rows import gold_texts, pairs_from_rows
from stargate_assets.pipeline.sources.tables import read_tables
from stargate_assets.storage.completions import Use

METHODS: tuple[JudgeMethod, ...] = ("choice", "fit")
console = Console()


def main() -> None:
    project = load_project()
    tables = read_tables(project.data_sets["everyday_mini"])
    assert tables.personas is not None
    assert tables.gold_responses is not None
    audited = [
        found
        for split in TRAIN_SPLITS
        for found in audit_pairs(
            pairs_from_rows(tables.tasks.of(split), tables.personas.of(split)),
            gold_texts(tables.gold_responses.of(split)),
            base_responses=(),
            split=split,
            seed=0,
        ).audited
    ]
    model = ModelPool(Path("warehouse")).open(
        ModelSpec(model=BUNDLED), Use("judges", "all", "judge")
    )
    for method in METHODS:
        started = time.monotonic()
        judgements = judge(model, method, [a.comparison for a in audited], Sampling(1), SHIPPED)
        found = win_rate(
            [
                Judged(a.comparison.pair.key, judgement, 0, 0)
                for a, judgement in zip(audited, judgements, strict=True)
            ]
        )
        assert found.win_rate is not None
        console.print(
            f"{method}: {found.win_rate:.3f} ({found.low:.3f} to {found.high:.3f}) of "
            f"{found.pairs} pairs; position bias {found.position_bias}, order consistency "
            f"{found.order_consistency}; {time.monotonic() - started:.0f} s"
        )


if __name__ == "__main__":
    main()
