"""`stargate compare-blind`: two policies before people who do not know which is which."""

import socket
from contextlib import suppress
from signal import Signals

from rich.markup import escape

from stargate_assets.cli.blind.app import make_app
from stargate_assets.cli.blind.live import LiveSession, start_live_session
from stargate_assets.cli.blind.session import Session, check_rater, start_session
from stargate_assets.cli.driver import find_experiment
from stargate_assets.cli.interrupts import ending_signal
from stargate_assets.cli.policies import find_policy
from stargate_assets.cli.terminal import console, make_grid_table
from stargate_assets.definitions.project import Project
from stargate_assets.method.errors import StargateError
from stargate_assets.pipeline.assets.report_page import experiment_tables
from stargate_assets.reporting.raters import rater_grids, stored_comparisons
from stargate_assets.reporting.words import plural

HOST, PORT = "127.0.0.1", 8760
"""The port is the same each time, so that a page that is open goes on; another if it is taken."""


class NothingToCompareError(StargateError):
    """The policies have no responses to the same pairs. The message says what to run."""


def open_session(project: Project, name: str, policies: tuple[int, int]) -> tuple[Session, int]:
    """The stored responses of two policies to the test pairs, and how many pairs are left out
    because a content filter stopped a response. Raises NothingToCompareError.
    """
    experiment = find_experiment(project, name)
    for number in policies:
        find_policy(project, name, number)
    earlier, later = _two(policies)
    tables = experiment_tables(project.warehouse, name, experiment)
    every = stored_comparisons(tables, (earlier, later))
    session = start_session(project.warehouse, name, (earlier, later), every, experiment.seed)
    if not session.comparisons:
        raise NothingToCompareError(
            f"Policies {earlier} and {later} of {name} have not both answered test pairs as the "
            f"experiment is now; run it first: stargate run {name}."
        )
    return session, len(every) - len(session.comparisons)


def open_live_session(project: Project, name: str, policies: tuple[int, int]) -> LiveSession:
    """Two policies to talk with. Raises NothingToCompareError."""
    earlier, later = (find_policy(project, name, number) for number in _two(policies))
    return start_live_session(project, name, (earlier, later))


def _two(policies: tuple[int, int]) -> tuple[int, int]:
    """The earlier and the later. Raises NothingToCompareError."""
    earlier, later = sorted(policies)
    if earlier == later:
        raise NothingToCompareError(
            f"Policy {later} would be compared with itself; state two policies."
        )
    return earlier, later


def compare_blind(
    project: Project, name: str, policies: tuple[int, int], rater: str | None, *, live: bool
) -> None:
    """Serve the page until a signal comes, and print what people have said."""
    if live:
        session = open_live_session(project, name, policies)
        earlier, later = sorted(policies)
        said = f"Policies {earlier} and {later} of {escape(name)}, to be talked with."
        try:
            _serve(session, rater, said)
        finally:
            session.close()
    else:
        stored, left_out = open_session(project, name, policies)
        earlier, later = stored.policies
        pairs = plural(len(stored.comparisons), "pair")
        refused = f", {left_out} left out because an answer was refused" if left_out else ""
        said = f"Policies {earlier} and {later} of {escape(name)}: {pairs}{refused}."
        _serve(stored, rater, said)
    print_raters(project, name)
    if ending_signal() not in (None, Signals.SIGINT):
        raise KeyboardInterrupt


def _serve(session: Session | LiveSession, rater: str | None, said: str) -> None:
    """Serve the page until a signal comes."""
    import uvicorn

    with _listen() as listener:
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        console.print(said)
        console.print(f"Open {address} in a browser, once for each rater; Ctrl-C ends it.")
        stated = uvicorn.Config(
            make_app(session, rater and check_rater(rater)),
            log_level="warning",
            lifespan="off",
            ws="none",
            loop="asyncio",  # uvloop takes away what says which signal has come
        )
        with suppress(KeyboardInterrupt):  # which is how this command ends
            uvicorn.Server(stated).run(sockets=[listener])


def print_raters(project: Project, name: str) -> None:
    """What people have said of an experiment's policies."""
    tables = experiment_tables(project.warehouse, name, project.experiments[name])
    for grid in rater_grids(tables):
        console.print(make_grid_table(grid))
    console.print(
        f"Every verdict: stargate sql 'from {escape(name)}.human_judgements'. They are on the "
        f"page of: stargate report {escape(name)}.",
        soft_wrap=True,
    )


def _listen() -> socket.socket:
    try:
        return socket.create_server((HOST, PORT))
    except OSError:
        return socket.create_server((HOST, 0))
