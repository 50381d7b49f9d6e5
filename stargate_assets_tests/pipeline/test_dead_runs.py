"""A pool's slot goes back when the process that held it is gone, and not before."""

import os
import subprocess
import sys
from collections.abc import Callable

import dagster as dg
import pytest
from dagster._core.events import EngineEventData
from dagster._core.test_utils import create_run_for_test

from stargate_assets.cli.driver import open_instance, run_experiment
from stargate_assets.cli.other_runs import OtherRunError
from stargate_assets.definitions.project import Project
from stargate_assets.pipeline.assets.grid import GPU_POOL
from stargate_assets.pipeline.dead_runs import release_dead_runs


def holding_the_slot(instance: dg.DagsterInstance, pid: int) -> str:
    """A started run of this process id that has claimed the pool's only slot."""
    run = create_run_for_test(
        instance, job_name="loop_train_iteration", status=dg.DagsterRunStatus.STARTED
    )
    instance.report_engine_event("Executing", run, EngineEventData.in_process(pid))
    storage = instance.event_log_storage
    storage.initialize_concurrency_limit_to_default(GPU_POOL)
    assert storage.claim_concurrency_slot(GPU_POOL, run.run_id, "conversations").is_claimed
    return run.run_id


def test_a_run_without_a_process_is_failed_and_its_slot_is_free(
    scripted_project: Callable[..., Project],
) -> None:
    scripted_project()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with open_instance() as instance:
        dead = holding_the_slot(instance, gone.pid)
        assert release_dead_runs(instance) == []
        assert instance.get_run_by_id(dead).status is dg.DagsterRunStatus.FAILURE
        assert instance.event_log_storage.get_concurrency_run_ids() == set()


def test_a_run_that_lives_keeps_its_slot_and_is_named(
    scripted_project: Callable[..., Project],
) -> None:
    project = scripted_project()
    with open_instance() as instance:
        alive = holding_the_slot(instance, os.getpid())
        with pytest.raises(OtherRunError, match=rf"{alive} \(loop_train_iteration\) is using"):
            run_experiment(project, "loop", None, print)
        assert instance.event_log_storage.get_concurrency_run_ids() == {alive}
