"""The faults that a run must survive: each is one entry."""

from functools import partial
from signal import Signals

from stargate_assets_tests.faults import causes
from stargate_assets_tests.faults.harness import BESIDE_ANOTHER_RUN, Fault
from stargate_assets_tests.faults.phases import STRUCK

ASKING = ("simulate", "score", "answer", "judge")
SOME = ("simulate", "publish", "write", "report")
FAULTS = (
    Fault("corrupt adapter", ("write",), causes.damaged_checkpoint, 1, "delete the directory, and"),
    Fault("kill -9", STRUCK, partial(causes.send, Signals.SIGKILL), -Signals.SIGKILL),
    Fault(
        "SIGINT", STRUCK, partial(causes.send, Signals.SIGINT), 130, "Ended by SIGINT. .*is kept"
    ),
    Fault(
        "SIGTERM", STRUCK, partial(causes.send, Signals.SIGTERM), 143, "Ended by SIGTERM. .*is kept"
    ),
    Fault("disk full", STRUCK, causes.fill_disk, 1, "is full; free some space", mounts=True),
    Fault("read-only", STRUCK, causes.read_only_disk, 1, "cannot be written", mounts=True),
    Fault(
        "locked by a reader", STRUCK, partial(causes.locked_by, "read"), 1, r"locked by .*PID \d+"
    ),
    Fault(
        "locked by a writer", STRUCK, partial(causes.locked_by, "write"), 1, r"locked by .*PID \d+"
    ),
    Fault("damaged completion store", ASKING, causes.no_store, 1, "completion store .* is damaged"),
    Fault(BESIDE_ANOTHER_RUN, SOME, causes.beside_another_run, says="is using the models"),
    Fault("stale upstream", ("simulate",), causes.stale_upstream),
    Fault("clock set back", SOME, causes.clock_set_back),
)
"""Those that end a run happen in this order, so the first finds every call still to be made. Each
phase is run on hostile texts, one of them a huge persona.
"""
