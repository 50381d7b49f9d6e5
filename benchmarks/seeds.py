"""What the embedded experiments gain with other seeds, and how far that is from `embedded`.

python benchmarks/seeds.py [EXPERIMENT...]

Seed 0 is what `stargate run --all embedded` left in warehouse/. Each other seed is run in a
directory of its own under warehouse/seeds/, where a second call goes on; everything that is drawn
is drawn anew, and the data are the same.
"""

import math
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev

from ablations import FIRST, POLICY, evaluated, markdown

from stargate_assets.cli.driver import list_family, load
from stargate_assets.definitions.project import WAREHOUSE
from stargate_assets.method.answer_metrics import ANSWERS_THAT_ASK
from stargate_assets.method.arms import Arm
from stargate_assets.method.conditions import Condition
from stargate_assets.method.statistics import Estimate, t_quantile
from stargate_assets.reporting.comparison import Compared, compare
from stargate_assets.reporting.comparison_grids import GAINS, WIN_RATE
from stargate_assets.reporting.metrics import metric_labels
from stargate_assets.reporting.quality import NONE, Grid
from stargate_assets.reporting.words import percent, signed

SEEDS = (1, 2)
SETTINGS = ("dagster.yaml", "machine.yaml")
Found = Mapping[str, Compared]


def main() -> None:
    """Run what is missing, and print the table."""
    asked = sys.argv[1:] or list_family(load(FIRST), FIRST)
    names = list(dict.fromkeys([FIRST, *asked]))
    for seed in SEEDS:
        directory_of(seed).mkdir(parents=True, exist_ok=True)
        for file in SETTINGS:
            shutil.copy(file, directory_of(seed))
    stargate = Path(sys.executable).with_name("stargate")
    for name in names:
        for seed in SEEDS:
            command = [stargate, "run", name, "--seed", str(seed), "--iterations", str(POLICY)]
            subprocess.run(command, cwd=directory_of(seed), check=True)
    print(markdown(table(names, [found_with(seed) for seed in (0, *SEEDS)])))


def directory_of(seed: int) -> Path:
    return WAREHOUSE / "seeds" / str(seed) if seed else Path()


def found_with(seed: int) -> Found:
    """Policy 1 of every experiment that is evaluated with this seed, against the first's."""
    project = load(
        FIRST,
        all_of_it=True,
        iterations=POLICY if seed else None,
        seed=seed,
        root=directory_of(seed) / WAREHOUSE,
    )
    return {c.name: c for c in compare(list(evaluated(project).values()), POLICY)}


def table(names: Sequence[str], seeds: Sequence[Found]) -> Grid:
    """A row for each experiment: each seed's values, and means with Student's intervals over
    seeds: of how much sampling and training vary, and not of how much tasks and personas do.
    """
    rows: list[list[str]] = []
    for name in names:
        found = [of_seed[name] for of_seed in seeds if name in of_seed]
        gains = _means(c.gain(Condition.EXPERIMENTAL) for c in found)
        away = _means(c.log_prob_difference for c in found)
        win_rates = _means(c.win_rate(Arm.METHOD) for c in found)
        asking = _means(c.metric(ANSWERS_THAT_ASK) for c in found)
        rows.append(
            [
                name.removeprefix(f"{FIRST}_"),
                ", ".join(map(signed, gains)),
                _over_seeds(gains),
                _over_seeds(away),
                ", ".join(map(percent, win_rates)),
                ", ".join(map(percent, asking)),
            ]
        )
    gain = GAINS[Condition.EXPERIMENTAL]
    head = ["experiment", f"{gain} by seed", "over seeds", f"less that of {FIRST}"]
    return Grid("Seeds", [*head, WIN_RATE, metric_labels()[ANSWERS_THAT_ASK]], rows)


def _means(estimates: Iterable[Estimate | None]) -> list[float]:
    return [estimate.mean for estimate in estimates if estimate is not None]


def _over_seeds(values: Sequence[float]) -> str:
    if len(values) < 2:
        return NONE
    half = t_quantile(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    mean = fmean(values)
    return f"{signed(mean)} ({signed(mean - half)} to {signed(mean + half)})"


if __name__ == "__main__":
    main()
