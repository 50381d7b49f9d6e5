"""The process that holds vLLM, as its owner sees it: started, spoken with, and ended, group and
all.
"""

import os
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from stargate_assets.engines.vllm_messages import (
    REPLIES,
    Failed,
    Generated,
    Ready,
    Scored,
    Start,
    WireMessage,
    Work,
    line,
)
from stargate_assets.method.language_model import EngineError

SERVER = (sys.executable, "-m", "stargate_assets.engines.vllm_server")
SECONDS_TO_END = 10.0


class VllmProcess:
    """Leads a session of its own, so that its whole group can be ended. When its standard input
    ends, because this object is closed or this process is no more, it ends by itself.
    """

    def __init__(
        self, command: Sequence[str], start: Start, environment: Mapping[str, str], log: Path
    ):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.name, self.log, self.latest = start.model, log, 0
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=dict(environment),
                start_new_session=True,
            )
        self._finalizer = weakref.finalize(self, end, self.process)
        self._send(start)
        ready = self._receive()
        assert isinstance(ready, Ready)
        self.max_length = ready.max_length

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def run(self, work: Work) -> Iterator[Generated | Scored]:
        """The result of each request, as soon as it is there. What an earlier call left behind is
        dropped.
        """
        waiting = {request.id for request in work.requests}
        if not waiting:
            return
        self.latest = call = max(waiting)
        self._send(work)
        while waiting:
            assert self.latest == call, "a newer call has taken this one's place"
            done = self._receive()
            if not isinstance(done, Ready) and done.id in waiting:
                waiting.remove(done.id)
                yield done

    def close(self) -> None:
        """End the group, and wait until it has ended."""
        self._finalizer()

    def _send(self, message: WireMessage) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line(message))
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise self._end_error("it took no more commands") from error

    def _receive(self) -> Ready | Generated | Scored:
        assert self.process.stdout is not None
        received = self.process.stdout.readline()
        if not received:
            self.close()
            code = self.process.returncode
            raise self._end_error(f"signal {-code}" if code < 0 else f"exit code {code}")
        reply = REPLIES.validate_json(received)
        if isinstance(reply, Failed):
            raise self._end_error(reply.reason)
        return reply

    def _end_error(self, why: str) -> EngineError:
        self.close()
        return EngineError(
            f"vLLM with {self.name} has ended ({why}); {self.log} says more. If memory ran out, "
            "lower gpu_memory_share, cpu_cache_gib or max_length."
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Let the process end by itself, which frees what it shares with workers; insist, if it does
    not.
    """
    assert process.stdin is not None and process.stdout is not None
    with suppress(BrokenPipeError):  # it is no more
        process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS_TO_END)
    with suppress(ProcessLookupError):  # nothing is left of the group
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
