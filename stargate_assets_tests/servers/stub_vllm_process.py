"""What stands in for the process that holds vLLM where vLLM is not installed: the real program
around a stub of its work.

It starts a process of its own, as vLLM does for tensor parallelism. A prompt comes back reversed;
the prompt (0,) is a fault, (9,) a crash, (5,) takes for ever, and (1, ...) is answered twice.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from stargate_assets.engines import vllm_server
from stargate_assets.engines.vllm_messages import (
    Generate,
    Generated,
    Ready,
    Scored,
    Start,
    WireMessage,
    Work,
)

FAULT, CRASH, FOR_EVER, TWICE = 0, 9, 5, 1
SLEEPER = "import signal; signal.pause()"


def run(inbox: vllm_server.Inbox, send: Callable[[WireMessage], None]) -> None:
    assert isinstance(inbox.get(), Start)
    subprocess.Popen([sys.executable, "-c", SLEEPER])
    send(Ready(max_length=100))
    print("what vLLM prints")
    while isinstance(work := inbox.get(), Work):
        for request in work.requests:
            if not isinstance(request, Generate):
                send(Scored(id=request.id, log_probs=(-1.0,)))
                continue
            first = request.prompt[0]
            if first == FAULT:
                raise ValueError("the rank is too high\nand more")
            if first == CRASH:
                os.kill(os.getpid(), signal.SIGKILL)
            if first == FOR_EVER:
                signal.pause()
            for _ in range(1 + (first == TWICE)):
                send(Generated(id=request.id, tokens=request.prompt[::-1]))


if __name__ == "__main__":
    vllm_server.run = run
    vllm_server.main()
