"""This process's one connection to Ray, which the models of a run share. Ray is imported here when
a cluster is first needed.
"""

import atexit
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from stargate_assets.config.machine import Cluster
from stargate_assets.method.language_model import EngineError

INSTALL = "pip install 'stargate-assets[ray]'"


class RayConnection:
    """Made by the first engine that joins, ended when the last one leaves or with the process. What
    somebody else in this process has connected is used, and left as it is.
    """

    def __init__(self) -> None:
        self.users = 0
        self.directory: Path | None = None
        self.is_ours, self.ended = False, threading.Event()

    def join(self, cluster: Cluster) -> None:
        """Connect unless that is done. Raises EngineError."""
        try:
            import ray
        except ImportError as error:
            raise EngineError(
                f"machine.yaml states a cluster, and Ray is not installed; run: {INSTALL}, or "
                "leave cluster out."
            ) from error
        if not ray.is_initialized():
            self._connect(cluster)
        self.users += 1

    def size(self) -> tuple[int, float]:
        """How many nodes and GPUs the cluster has."""
        import ray

        nodes = [node for node in ray.nodes() if node["Alive"]]
        return len(nodes), sum(node["Resources"].get("GPU", 0) for node in nodes)

    def leave(self) -> None:
        self.users -= 1
        if self.users == 0:
            self.end()

    def _connect(self, cluster: Cluster) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        arguments: dict[str, Any] = {"address": cluster.address}
        if cluster.address == "local":
            # Not TMPDIR, which may be long: Linux takes no long path for a socket.
            prefix = f"stargate-ray-{os.getpid()}-"
            self.directory = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
            arguments |= {
                "num_cpus": 1,
                "include_dashboard": False,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": str(self.directory),
            }
        connected, self.ended = Future[None](), threading.Event()
        # Linux ends Ray's processes with the thread that started them, so that one stays. Only the
        # main thread may handle signals, so Ray leaves our handlers alone.
        threading.Thread(
            target=_hold, args=(arguments, connected, self.ended), name="ray", daemon=True
        ).start()
        try:
            connected.result()
        except Exception as error:
            self.end()
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise EngineError(
                f"There is no connection to the Ray cluster {cluster.address!r} ({said[0]}); start "
                "it (ray start --head), correct address under cluster in machine.yaml, or state "
                "address: local."
            ) from error
        self.is_ours = True
        atexit.register(self.end)

    def end(self) -> None:
        atexit.unregister(self.end)
        if self.is_ours:
            import ray

            ray.shutdown()
        self.is_ours, self.users = False, 0
        self.ended.set()
        if self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None


def _hold(arguments: Mapping[str, Any], connected: Future[None], ended: threading.Event) -> None:
    """Connect, and stay."""
    import ray

    try:
        ray.init(logging_level=logging.ERROR, log_to_driver=False, **arguments)
    except Exception as error:  # noqa: BLE001 - it is raised in the thread that waits
        connected.set_exception(error)
    else:
        _silence()
        connected.set_result(None)
        ended.wait()


def _silence() -> None:
    """Keep Ray from printing of every process that ends, which `replicas.py` tells of in a line. It
    has no switch for that, so this is how `ray.shutdown` ends it.
    """
    from ray._private import worker

    global_worker: Any = worker.global_worker
    if global_worker.connected:  # not behind ray://
        global_worker.threads_stopped.set()
        global_worker.gcs_error_subscriber.close()


CONNECTION = RayConnection()
