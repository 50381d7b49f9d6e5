"""A child process that runs `embedded`, made small, with the bundled model, and kills itself, by
SIGKILL, in the middle of a stage.

`python -m stargate_assets_tests.faults.bundled_run STAGE OUT` in a project directory: STAGE is what
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
from stargate_assets.config.experiment import Evaluation
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.method.arms import Arm

NAME, DATA_SET = "embedded", "everyday_mini"
FEW_TASKS = Sizes(train_a=3, train_b=1, test=1)
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


def project(stage: str) -> Project:
    pipes = KillingPipes() if stage == "training" else dg.PipesSubprocessClient()
    whole = load(NAME, iterations=1, samples=1)
    stated = whole.experiments[NAME]
    data_set = whole.data_sets[DATA_SET]
    tasks = data_set.tasks.model_copy(update={"sizes": FEW_TASKS})
    short = {
        "simulation": stated.simulation.model_copy(update={"max_turns": 1, "question_tokens": 24}),
        "regularization": stated.regularization.model_copy(update={"answer_tokens": 16}),
        "training": stated.training.model_copy(update={"epochs": 1}),
        "evaluation": Evaluation(samples=1, answer_tokens=16, arms=(Arm.METHOD,)),
    }
    experiment = stated.model_copy(update=short)
    data_sets = {DATA_SET: data_set.model_copy(update={"tasks": tasks})}
    return assemble(data_sets, {NAME: experiment}, Path("warehouse"), pipes=pipes)


def main(stage: str, out: str) -> None:
    built = project(stage)

    def on_progress(doing: str, done: int, total: int) -> None:
        if doing.startswith(stage) and total / 3 < done < total:
            os.kill(os.getpid(), signal.SIGKILL)

    built.models.on_progress = on_progress
    report = run_experiment(built, NAME, None, print)
    result = {"report": report.to_dicts(), "made": built.models.usage.made}
    Path(out).write_text(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
