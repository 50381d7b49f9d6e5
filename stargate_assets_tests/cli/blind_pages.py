"""The page of blind comparisons on loopback, over the warehouse of an experiment that never ran."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from stargate_assets.cli.blind.app import make_app
from stargate_assets.cli.blind.live import LiveSession, start_live_session
from stargate_assets.cli.blind.session import Session, start_session
from stargate_assets.cli.policies import Policy
from stargate_assets.definitions.project import Project
from stargate_assets.reporting.raters import Policies, stored_comparisons
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.storage.warehouse import Warehouse


def session_of(
    warehouse: Warehouse, tables: ExperimentTables, policies: Policies = (0, 2), seed: int = 0
) -> Session:
    compared = stored_comparisons(tables, policies)
    return start_session(warehouse, tables.name, policies, compared, seed)


def live_session_of(project: Project) -> LiveSession:
    """The experiment `loop` has no policy 2, which says what the base model says: what is drawn
    differs.
    """
    return start_live_session(project, "loop", (Policy(0, None), Policy(2, None)))


@contextmanager
def serving(session: Session | LiveSession, rater: str | None = None) -> Iterator[str]:
    """The address of the page."""
    app = make_app(session, rater)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
            if isinstance(session, LiveSession):
                session.close()
                session.thread.shutdown()
