"""A training program that learns nothing and takes no time: it writes an adapter made from the spec
and reports a result. `python scripted_training.py SPEC.json`
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import dagster as dg
from dagster_pipes import open_dagster_pipes

PROGRAM = Path(__file__)
STRIKES_WITH = "FAULT_SIGNAL"
"""A variable: if it is set, the program sends this signal to who started it, and waits."""
ALWAYS_REPORTED = {"preference_pairs": 0, "steps": 1, "losses": [1.0], "preference_losses": []}


class ScriptedPipes(dg.PipesSubprocessClient):
    """Starts this program in the place of the training program."""

    def run(self, *, command, **kwargs):
        return super().run(command=[sys.executable, str(PROGRAM), command[-1]], **kwargs)


def main(file: Path) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    spec = json.loads(file.read_text())
    kinds = [dialogue["kind"] for dialogue in spec["dialogues"]]
    output, weights = Path(spec["output"]), hashlib.sha256(json.dumps(kinds).encode()).digest()
    (output / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    (output / "adapter_model.safetensors").write_bytes(weights)
    if number := os.environ.get(STRIKES_WITH):
        os.kill(os.getppid(), int(number))
        signal.sigtimedwait([signal.SIGUSR1], 5)  # until it is ended in its turn
        return
    answers = kinds.count("answer")
    examples = {"question_examples": len(kinds) - answers, "answer_examples": answers}
    with open_dagster_pipes() as pipes:
        pipes.report_custom_message({"result": ALWAYS_REPORTED | examples})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
