"""Claims of processes, one of which is killed."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from stargate_assets.storage.claims import claim
from stargate_assets_tests.conftest import ENVIRONMENT

HOLD = """
import sys
from pathlib import Path
from stargate_assets.storage.claims import claim
with claim(Path(sys.argv[1]), "gpu") as holder:
    print(holder, flush=True)
    sys.stdin.read()
"""


def test_a_claim_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "None\n"
        with claim(tmp_path, "gpu") as holder:
            assert holder == other.pid
        with claim(tmp_path, "another") as holder:
            assert holder is None
        other.send_signal(signal.SIGKILL)
        other.wait()
    with claim(tmp_path, "gpu") as holder:
        assert holder is None


def test_there_are_as_many_claims_as_places(tmp_path: Path) -> None:
    with ExitStack() as stack:
        found = [stack.enter_context(claim(tmp_path, "gpu", 2)) for _ in range(3)]
        assert found == [None, None, os.getpid()]
    with claim(tmp_path, "gpu", 2) as holder:
        assert holder is None
