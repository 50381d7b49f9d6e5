"""MLflow: the server that MLFLOW_TRACKING_URI names, or a file of SQLite in the warehouse."""

import logging
import os
import time
from pathlib import Path

from stargate_assets.reporting.trackers.tracker import KEY, TrackedRun

FILE = "mlflow.db"
AT_ONCE = 500
"""Metrics of a call; a server takes 1000, and tags besides."""


class MlflowTracker:
    """An experiment is one of MLflow's, a policy a run of it."""

    def __init__(self, uri: str):
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow's own, to its makers
        from mlflow import MlflowClient

        logging.getLogger("alembic").setLevel(logging.WARNING)
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        self.client = MlflowClient(tracking_uri=uri)

    def send(self, run: TrackedRun) -> None:
        from mlflow.entities import Metric, RunTag

        found = self.client.get_experiment_by_name(run.experiment)
        of = found.experiment_id if found else self.client.create_experiment(run.experiment)
        there = self.client.search_runs([of], f"tags.`{KEY}` = '{run.key}'")
        begun = there[0] if there else self.client.create_run(of, run_name=run.name)
        run_id, now = begun.info.run_id, int(time.time() * 1000)
        tags = [RunTag(name, str(fact)) for name, fact in {KEY: run.key, **run.facts}.items()]
        self.client.log_batch(run_id, tags=tags)
        metrics = [Metric(p.metric, p.value, now, p.step) for p in run.points]
        for start in range(0, len(metrics), AT_ONCE):
            self.client.log_batch(run_id, metrics=metrics[start : start + AT_ONCE])
        self.client.set_terminated(run_id)


def open_tracker(directory: Path) -> MlflowTracker:
    stated = os.environ.get("MLFLOW_TRACKING_URI")
    return MlflowTracker(stated or f"sqlite:///{(directory / FILE).absolute()}")
