"""A child process that runs an experiment and kills itself, by SIGKILL, in the middle of a stage.

`python -m stargate_assets_tests.runs.kill_harness STAGE OUT` in a project directory: STAGE is what
`on_progress` calls it, or `training`, or `never`. A run that is not killed writes its report and
its number of model calls to OUT.
"""

import json
import os
import signal
import sys
from pathlib import Path

import dagster as dg

from stargate_assets.cli.driver import load, run_experiment
from stargate_assets.config.data_set import Sizes
from stargate_assets.config.experiment import Evaluation, Experiment
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.method.arms import Arm
from stargate_assets_tests.conftest import mini_data_set

EXPERIMENT_FILE = "experiment.json"
"""If it is there: the scripted experiment to run, on the data set in `mini/`. Otherwise `embedded`,
made small.
"""

FEW_TASKS = Sizes(train_a=4, train_b=1, test=2)
KILL_THE_PARENT_AFTER_ONE_STEP = """
import os, signal, sys
from stargate_assets.training import __main__, trainer
real = trainer.train
def train(spec, on_loss):
    def kill_then_go_on(*loss):
        os.kill(os.getppid(), signal.SIGKILL)
        on_loss(*loss)
    return real(spec, kill_then_go_on)
trainer.train = train
sys.exit(__main__.main())
"""


class KillingPipes(dg.PipesSubprocessClient):
    """Starts the training program so that it kills the process that started it, and goes on."""

    def run(self, *, command, **kwargs):
        return super().run(
            command=[sys.executable, "-c", KILL_THE_PARENT_AFTER_ONE_STEP, command[-1]], **kwargs
        )


def project(stage: str) -> tuple[Project, str]:
    pipes = KillingPipes() if stage == "training" else dg.PipesSubprocessClient()
    if Path(EXPERIMENT_FILE).exists():
        experiment = Experiment.model_validate_json(Path(EXPERIMENT_FILE).read_text())
        name, data_sets = "loop", {"mini": mini_data_set(Path("mini"))}
    else:
        name, whole = "embedded", load("embedded", iterations=1, samples=1)
        shipped, data_set = whole.experiments[name], whole.data_sets["everyday_mini"]
        tasks = data_set.tasks.model_copy(update={"sizes": FEW_TASKS})
        data_sets = {"everyday_mini": data_set.model_copy(update={"tasks": tasks})}
        evaluation = Evaluation(samples=1, answer_tokens=16, arms=(Arm.METHOD,))
        experiment = shipped.model_copy(update={"evaluation": evaluation})
    return assemble(data_sets, {name: experiment}, Path("warehouse"), pipes=pipes), name


def main(stage: str, out: str) -> None:
    built, name = project(stage)

    def on_progress(doing: str, done: int, total: int) -> None:
        if doing.startswith(stage) and total / 3 < done < total:
            os.kill(os.getpid(), signal.SIGKILL)

    built.models.on_progress = on_progress
    report = run_experiment(built, name, None, print)
    result = {"report": report.to_dicts(), "made": built.models.usage.made}
    Path(out).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
