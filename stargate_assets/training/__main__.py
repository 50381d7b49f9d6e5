"""`python -m stargate_assets.training SPEC.json`; see `training/spec.py` for the file's fields."""

import os
import sys
from pathlib import Path

from dagster_pipes import PipesContext, open_dagster_pipes

from stargate_assets.child_process import watch_parent
from stargate_assets.training.spec import TrainingError, TrainingSpec


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m stargate_assets.training SPEC.json", file=sys.stderr)
        return 2
    watch_parent(lambda: os._exit(1))  # a run that is killed must not leave a training behind
    spec = TrainingSpec.model_validate_json(Path(sys.argv[1]).read_text())
    from transformers.utils.logging import disable_progress_bar

    from stargate_assets.training.trainer import train

    disable_progress_bar()

    with open_dagster_pipes() as pipes:
        context: PipesContext = pipes

        def on_loss(step: int, steps: int, loss: float) -> None:
            context.log.info(f"step {step} of {steps}: loss {loss:.4f}")

        try:
            result = train(spec, on_loss)
        except TrainingError as error:
            print(error, file=sys.stderr)
            context.report_custom_message({"error": str(error)})
            return 0 if "DAGSTER_PIPES_CONTEXT" in os.environ else 1  # Dagster has been told
        context.report_custom_message({"result": result.model_dump()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
