"""`stargate serve`: a policy behind an address until the command ends."""

import json
import shlex
import socket
from dataclasses import asdict

from rich.markup import escape

from stargate_assets.cli.driver import find_experiment
from stargate_assets.cli.policies import find_policy
from stargate_assets.cli.serve.app import make_app
from stargate_assets.cli.terminal import console
from stargate_assets.config.experiment import Experiment
from stargate_assets.definitions.project import Project
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.errors import StargateError

NAME, TASK = "Ana", "What should I cook tonight?"
"""Of the request that is shown."""
PATIENCE_SECONDS = 5
"""For requests under way when the command ends."""


class ServeError(StargateError):
    """A policy cannot be served here. The message says why and what to do."""


def serve_policy(project: Project, name: str, number: int | None, host: str, port: int) -> None:
    """Serve a policy, the latest unless its number is stated, until a signal comes."""
    import uvicorn

    experiment, policy = find_experiment(project, name), find_policy(project, name, number)
    spec = experiment.questioner
    if spec.entry.remote:
        raise ServeError(
            f"The policies of {name} are behind an endpoint already ({spec.label}); ask that one."
        )
    with _listen(host, port) as listener:
        console.print(f"Loading {escape(spec.label)}.", soft_wrap=True)
        engine = project.models.engine(spec, policy.checkpoint)
        served = f"{name}-policy-{policy.number}"
        app = make_app(served, engine, experiment.evaluation.answer_tokens)
        at = f"[{host}]" if ":" in host else host
        address = f"http://{at}:{listener.getsockname()[1]}/v1"
        console.print(f"Serving {escape(served)} at {escape(address)}; Ctrl-C ends it. Try:")
        console.print(escape(curl_line(address, served, experiment)), soft_wrap=True)
        stated = uvicorn.Config(
            app,
            log_level="warning",
            lifespan="off",
            ws="none",
            loop="asyncio",  # uvloop takes away what says which signal has come
            timeout_graceful_shutdown=PATIENCE_SECONDS,
        )
        try:
            uvicorn.Server(stated).run(sockets=[listener])
        finally:
            project.models.close()


def curl_line(address: str, served: str, experiment: Experiment) -> str:
    """A command that has the policy ask: under its prompt, without which it may not."""
    pair = Pair(Task("", TASK), Persona("", NAME, ""))
    messages = experiment.told.questioner_messages(Conversation(pair, 0))
    stated, tokens = experiment.simulation, experiment.simulation.question_tokens
    body = {
        "model": served,
        "messages": [asdict(message) for message in messages],
        "temperature": stated.temperature,
        "max_tokens": tokens,
    }
    words = ["curl", f"{address}/chat/completions", "-H", "Content-Type: application/json", "-d"]
    return shlex.join([*words, json.dumps(body, ensure_ascii=False)])


def _listen(host: str, port: int) -> socket.socket:
    """A socket at the address, bound before a model is loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ServeError(
            f"Nothing can listen at {host}:{port} ({error.strerror}); state another with --port."
        ) from error
