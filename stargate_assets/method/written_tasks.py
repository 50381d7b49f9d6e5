"""Tasks written by a model: domains and examples in, underspecified requests out, one a line.

What cannot be read or is there already is refused and counted, and what is missing is asked for
again with another seed and other examples, a bounded number of times.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from stargate_assets.method.hygiene import fault
from stargate_assets.method.keys import derive_seed, text_id
from stargate_assets.method.language_model import ChatRequest, Completion, LanguageModel, Sampling
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.text import (
    NEAR_DUPLICATE,
    SAME_TEXT,
    SameText,
    mentions,
    shingles,
    similarity,
)

MOST_LINES = 10
"""Tasks that one request asks for."""
TASK_EXAMPLES = 4
"""Most examples that one request shows."""

_LINE = re.compile(r"(?:\d+[.)]|[-*•])?\s*(?P<kind>specific|general):\s*(?P<text>\S.*)", re.I)


class TaskRefusal(StrEnum):
    """Why a line that a model wrote, or all of them, was not taken."""

    REFUSED = "refused"
    TRUNCATED = "truncated"
    NO_KIND = "no_kind"
    NOT_TEXT = "not_text"
    NAME_OF_A_PERSONA = "name_of_a_persona"
    EXAMPLE_COPIED = "example_copied"
    REPEATED = "repeated"
    NEAR_DUPLICATE = "near_duplicate"
    NOT_ASKED_FOR = "not_asked_for"


@dataclass(frozen=True, slots=True)
class WrittenTask:
    """A task with the `kind` that its writer told."""

    text: str
    kind: str
    domain: str

    @property
    def task_id(self) -> str:
        return text_id(self.text)


@dataclass(frozen=True, slots=True)
class WrittenTasks:
    """The tasks in the order in which they were written, and (domain, attempt, reason) of each line
    that was refused.
    """

    tasks: list[WrittenTask]
    refusals: list[tuple[str, int, TaskRefusal]]


@dataclass(slots=True)
class _Taken:
    """What a new task is compared with."""

    same: SameText
    names: Sequence[str]
    examples: set[str]
    texts: set[str] = field(default_factory=set[str])
    runs: list[frozenset[str]] = field(default_factory=list[frozenset[str]])


def write_tasks(
    model: LanguageModel,
    examples: Sequence[WrittenTask],
    domains: Sequence[str],
    size: int,
    *,
    names: Sequence[str],
    same: SameText,
    seed: int,
    attempts: int,
    sampling: Sampling,
    prompts: Prompts,
) -> WrittenTasks:
    """`size` tasks, spread evenly over the domains; fewer where too many lines were refused.

    `names` are those of personas, which may stand in no task.
    """
    key = SAME_TEXT[same]
    taken = _Taken(same, names, {key(example.text) for example in examples})
    written: dict[str, list[WrittenTask]] = {domain: [] for domain in domains}
    wanted = {d: size // len(domains) + (n < size % len(domains)) for n, d in enumerate(domains)}
    refusals: list[tuple[str, int, TaskRefusal]] = []
    for attempt in range(attempts):
        asked: list[tuple[str, int]] = []
        requests: list[ChatRequest] = []
        for domain in domains:
            missing = wanted[domain] - len(written[domain])
            for number, first in enumerate(range(0, missing, MOST_LINES)):
                place = (domain, number, attempt)
                count = min(MOST_LINES, missing - first)
                shown = _examples(examples, seed, *place)
                messages = prompts.task_writer_messages(
                    [(example.kind, example.text, example.domain) for example in shown],
                    domain,
                    count,
                )
                requests.append(ChatRequest(messages, sampling, derive_seed(seed, "task", *place)))
                asked.append((domain, count))
        if not requests:
            break
        completions = model.chat(requests, f"writing tasks, attempt {attempt + 1}")
        for (domain, count), completion in zip(asked, completions, strict=True):
            for line in _read_lines(completion, domain, count, taken):
                if isinstance(line, TaskRefusal):
                    refusals.append((domain, attempt, line))
                else:
                    written[domain].append(line)
    return WrittenTasks([task for of in written.values() for task in of], refusals)


def _examples(examples: Sequence[WrittenTask], *key: str | int) -> list[WrittenTask]:
    ordered = sorted(examples, key=lambda example: example.task_id)
    count = min(TASK_EXAMPLES, len(ordered))
    return random.Random(derive_seed("task examples", *key)).sample(ordered, count)


def _read_lines(
    completion: Completion, domain: str, count: int, taken: _Taken
) -> list[WrittenTask | TaskRefusal]:
    """Each line of a completion as a task, or the first rule that it breaks."""
    if completion.finish_reason == "refused":
        return [TaskRefusal.REFUSED]
    lines = [line.strip() for line in completion.text.splitlines() if line.strip()]
    broken_off = completion.finish_reason == "length"
    if broken_off:  # the line that it was broken off in is no task
        lines = lines[:-1]
    found: list[WrittenTask | TaskRefusal] = []
    accepted = 0
    for line in lines:
        read = TaskRefusal.NOT_ASKED_FOR if accepted == count else _accept(line, domain, taken)
        accepted += isinstance(read, WrittenTask)
        found.append(read)
    return [*found, TaskRefusal.TRUNCATED] if broken_off else found


def _accept(line: str, domain: str, taken: _Taken) -> WrittenTask | TaskRefusal:
    match = _LINE.fullmatch(line)
    if match is None:
        return TaskRefusal.NO_KIND
    text = " ".join(match["text"].split())
    if fault("text", text):
        return TaskRefusal.NOT_TEXT
    if any(name and mentions(text, name) for name in taken.names):
        return TaskRefusal.NAME_OF_A_PERSONA
    same, runs = SAME_TEXT[taken.same](text), shingles(text)
    if same in taken.examples:
        return TaskRefusal.EXAMPLE_COPIED
    if same in taken.texts:
        return TaskRefusal.REPEATED
    if any(similarity(runs, other) >= NEAR_DUPLICATE for other in taken.runs):
        return TaskRefusal.NEAR_DUPLICATE
    taken.texts.add(same)
    taken.runs.append(runs)
    return WrittenTask(text, match["kind"].casefold(), domain)
