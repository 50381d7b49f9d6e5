"""A Ray cluster on this machine, each node a raylet of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from stargate_assets.engines.ray_connection import CONNECTION
from stargate_assets_tests.conftest import ROOT

SMALL: dict[str, Any] = {"object_store_memory": 80_000_000}


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """A cluster whose head computes nothing, and to which nodes are to be added."""
    from ray.cluster_utils import Cluster

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    cluster = Cluster(True, head_node_args=SMALL | {"num_cpus": 0, "include_dashboard": False})
    yield cluster
    CONNECTION.end()
    cluster.shutdown()
    os.environ.pop("PYTHONPATH")
    if before is not None:
        os.environ["PYTHONPATH"] = before
