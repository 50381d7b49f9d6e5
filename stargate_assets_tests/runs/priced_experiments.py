"""Two experiments whose roles are all on an endpoint of their own, at a cent a token.

`python -m ... NAME ENOUGH URL` makes one's cell of the base model and its report, in the project's
directory with the completions at URL. It kills itself, by SIGKILL, when it has so many answers; 0
is never. What it is not allowed to spend it says, and exits with `OUT_OF_MONEY`.
"""

import os
import signal
import sys
from datetime import date
from pathlib import Path

from stargate_assets.cli.driver import launcher, walk
from stargate_assets.cli.other_runs import computes_here
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.machine import Machine, Price
from stargate_assets.definitions.project import Project, assemble
from stargate_assets.models.stored import SpendingError
from stargate_assets.storage.postgres import COMPLETIONS_URL
from stargate_assets_tests.conftest import mini_data_set, scripted_experiment
from stargate_assets_tests.servers.vllm_protocol import BASE

NAMES = ("one", "two")
CELL = "0|test"
MADE = {"mini": ("test",), **dict.fromkeys(NAMES, (CELL,))}
OUT_OF_MONEY = 3
TOKENS = 16
"""The most that an answer may have, a cent each; the server says that all have fewer."""


def endpoint(name: str) -> str:
    """The label of an experiment's endpoint."""
    return name.upper()


def experiment(name: str) -> Experiment:
    spec = {"engine": "openai", "endpoint": endpoint(name), "model": BASE}
    return scripted_experiment(
        Path(BASE),
        questioner=spec,
        roleplayers=[{"model": spec, "answer_tokens": TOKENS}],
        simulation={"samples": 1, "max_turns": 2, "question_tokens": TOKENS},
        seed=NAMES.index(name),
        evaluation={"samples": 1, "arms": ["method"], "answer_tokens": TOKENS},
    )


def project() -> Project:
    """That of the current directory."""
    prices = [
        Price(endpoint=endpoint(n), model=BASE, prompt=0, completion=10_000, as_of=date(2024, 1, 1))
        for n in NAMES
    ]
    return assemble(
        {"mini": mini_data_set(Path("mini"))},
        {name: experiment(name) for name in NAMES},
        Path("warehouse"),
        Machine(requests_at_once=4, prices=tuple(prices)),
    )


def count_answers(built: Project, name: str) -> int:
    """How many answers of its endpoint are stored."""
    with built.models.database.connect() as session:
        identity = built.models.identity(built.experiments[name].questioner)
        query = "SELECT count(*) FROM completions WHERE model = ?"
        return session.execute(query, [identity]).fetchone()[0]


def make(built: Project, name: str) -> None:
    with launcher(built, models=computes_here(built, name)) as launch:
        walk(built, name, None, launch, print, MADE)


def main(name: str, enough: int, url: str) -> None:
    os.environ[COMPLETIONS_URL] = url
    built = project()

    def on_progress(doing: str, done: int, total: int) -> None:
        del doing, done, total
        if enough and count_answers(built, name) == enough:
            os.kill(os.getpid(), signal.SIGKILL)

    built.models.on_progress = on_progress
    try:
        make(built, name)
    except SpendingError as error:
        print(error)
        sys.exit(OUT_OF_MONEY)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
