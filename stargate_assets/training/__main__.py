"""`python -m stargate_assets.training SPEC.json`; see `training/spec.py` for the file's fields."""

import os
import signal
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path

from dagster_pipes import PipesContext, open_dagster_pipes

from stargate_assets.engines.child_process import watch_parent
from stargate_assets.method.errors import StargateError
from stargate_assets.storage.disk import describe_disk_fault
from stargate_assets.training.launch import launch, single_device_environment
from stargate_assets.training.spec import TrainingError, TrainingResult, TrainingSpec


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m stargate_assets.training SPEC.json", file=sys.stderr)
        return 2
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # who started this says what Ctrl-C does
    watch_parent(lambda: os._exit(1))  # a run that is killed must not leave a training behind
    file = Path(sys.argv[1])
    spec = TrainingSpec.model_validate_json(file.read_text())
    if spec.cluster is not None:
        return run_single(spec)
    if spec.processes == 1:
        os.environ |= single_device_environment(spec.device, os.environ)
        return run_single(spec)
    if "TORCHELASTIC_RUN_ID" in os.environ:  # set for the processes that `launch` starts
        from torch.distributed.elastic.multiprocessing.errors import record

        return record(run_distributed)(spec) or 0
    try:
        launch(spec, file)
    except TrainingError as error:
        with open_dagster_pipes() as pipes:
            return report_error(pipes, error)
    return 0


def run_single(spec: TrainingSpec) -> int:
    with open_dagster_pipes() as pipes:
        try:
            result = run_training(spec, pipes)
        except StargateError as error:
            return report_error(pipes, error)
        except Exception as error:  # noqa: BLE001 - it goes on to who started this
            return report_error(pipes, describe_error(error, spec), traceback.format_exc())
        pipes.report_custom_message({"result": result.model_dump()})
    return 0


def describe_error(error: Exception, spec: TrainingSpec) -> TrainingError:
    """What nobody here has raised, as one sentence."""
    said = (str(error).splitlines() or [""])[0]
    return TrainingError(
        describe_disk_fault(error, spec.output)
        or f"The training failed and published nothing ({type(error).__name__}: {said})."
    )


def run_distributed(spec: TrainingSpec) -> int:
    """The first process reports losses and the result; `launch` is told errors."""
    from torch.distributed.elastic.multiprocessing.errors import get_error_handler

    with ExitStack() as stack:
        first = os.environ["RANK"] == "0"
        pipes = stack.enter_context(open_dagster_pipes()) if first else None
        try:
            result = run_training(spec, pipes)
        except TrainingError as error:
            get_error_handler().record_exception(error)
            return 1
        if pipes is not None:
            pipes.report_custom_message({"result": result.model_dump()})
    return 0


def run_training(spec: TrainingSpec, pipes: PipesContext | None) -> TrainingResult:
    def on_loss(step: int, steps: int, loss: float) -> None:
        if pipes is not None:
            pipes.log.info(f"step {step} of {steps}: loss {loss:.4f}")

    if spec.cluster is not None and pipes is not None:
        from stargate_assets.training.nodes import train_on_nodes

        return train_on_nodes(spec, spec.cluster, on_loss, pipes.log.warning)

    from transformers.utils.logging import disable_progress_bar

    from stargate_assets.training.trainer import train

    disable_progress_bar()
    return train(spec, on_loss)


def report_error(pipes: PipesContext, error: StargateError, trace: str = "") -> int:
    """Tell Dagster, or who looks at the terminal where there is no Dagster."""
    pipes.report_custom_message({"error": str(error), "trace": trace})
    if "DAGSTER_PIPES_CONTEXT" in os.environ:
        return 0
    print(trace or error, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
