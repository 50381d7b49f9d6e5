"""Runs whose process was killed. Dagster's default launcher does not look for them, so without this
module they would be `started` for ever and keep the pool's slot from every other run.
"""

import dagster as dg
import psutil
from dagster._core.storage.dagster_run import RunRecord
from dagster._core.storage.event_log import SqliteEventLogStorage

from stargate_assets.pipeline.assets.grid import GPU_POOL


def widen_pool(instance: dg.DagsterInstance, width: int) -> None:
    """Let so many runs have models at once; dagster.yaml says one, and knows no machine."""
    storage = instance.event_log_storage
    there = {pool.name: pool.limit for pool in storage.get_pool_limits()}
    if there.get(GPU_POOL, 1) != width:
        storage.set_concurrency_slots(GPU_POOL, width)


def release_dead_runs(instance: dg.DagsterInstance) -> list[RunRecord]:
    """Mark runs that have no process as failed, and free their slots of a pool; returns the runs
    that live and hold or await one.

    Process ids mean something on one machine only, which is where a SQLite instance is.
    """
    storage = instance.event_log_storage
    if not isinstance(storage, SqliteEventLogStorage):
        return []
    alive: list[RunRecord] = []
    in_pool = storage.get_concurrency_run_ids()
    started = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
    for run_id in in_pool | {run.run_id for run in started}:
        record = instance.get_run_record_by_id(run_id)
        if record is not None and not record.dagster_run.is_finished:
            if _has_process(instance, record):
                alive += [record] if run_id in in_pool else []
                continue
            instance.report_run_failed(
                record.dagster_run, "The process of this run was killed; materialise again."
            )
        storage.free_concurrency_slots_for_run(run_id)
    return alive


def _has_process(instance: dg.DagsterInstance, record: RunRecord) -> bool:
    events = instance.all_logs(record.dagster_run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    pids = [
        int(str(pid.value))
        for event in events
        if event.dagster_event
        and (pid := event.dagster_event.engine_event_data.metadata.get("pid"))
    ]
    try:
        processes = [psutil.Process(pid) for pid in pids]
        return all(
            process.status() != psutil.STATUS_ZOMBIE
            # One that is younger than the run has only inherited the number.
            and process.create_time() <= (record.start_time or process.create_time()) + 1
            for process in processes
        )
    except psutil.NoSuchProcess:
        return False


@dg.sensor(
    name="dead_runs",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Fails runs whose process was killed, so that others get the pool's slot.",
)
def dead_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    alive = release_dead_runs(context.instance)
    return dg.SkipReason(f"{len(alive)} live runs hold or await a slot.")
