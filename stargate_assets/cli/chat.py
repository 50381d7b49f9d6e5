"""`stargate chat`: a conversation with a policy in the terminal, by a person or by a Roleplayer."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from uuid import uuid4

from rich.markup import escape

from stargate_assets.cli.driver import DriverError, find_experiment
from stargate_assets.cli.estimate.sample import sample_pairs
from stargate_assets.cli.policies import Policy, find_policy
from stargate_assets.cli.talks import CHAT, Speaker, Talk
from stargate_assets.cli.terminal import console
from stargate_assets.config.experiment import Experiment
from stargate_assets.definitions.project import Project
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task, people_of
from stargate_assets.method.keys import text_id
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.simulation import Cell, conversation_seed, draw_roleplayer
from stargate_assets.method.splits import draw
from stargate_assets.method.turn_taking import Turn
from stargate_assets.pipeline.assets.steps import roleplayer_reply

OFFERED = 5
NAME = "Ana"
"""Of a person who states none."""
COMMANDS = (
    "/policy N talks with another, /answer wants the answer now, /keep keeps the last one, /quit"
)
Read = Callable[[str], str]
"""Asks with a prompt for a line. Raises EOFError where there is no more."""


class _Quit(Exception):  # noqa: N818 - no error
    """The person has had enough."""


@dataclass(slots=True)
class Chat:
    """A person, or one who is played, and a policy that can be changed at any moment. `held` counts
    the conversations about each task, so that the next one is another.
    """

    project: Project
    name: str
    policy: Policy
    read: Read
    plays_persona: bool
    answer_now: bool = False
    held: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    last: tuple[Policy, Talk] | None = None
    """The last conversation that was answered, and by which policy."""

    @property
    def experiment(self) -> Experiment:
        return self.project.experiments[self.name]

    @property
    def speaker(self) -> Speaker:
        return Speaker(self.project, self.name)

    def hold(self) -> None:
        """Conversation after conversation, until the person quits."""
        self._say(f"Policy {self.policy.number} of {self.name}. {COMMANDS} or Ctrl-D ends.")
        self._say("Models are loaded when they are first asked, which may take a minute.")
        try:
            pairs = sample_pairs(self.project, self.experiment.data_set, TEST_SPLIT).every
            tasks = {pair.task.task_id: pair.task for pair in pairs}
            offered = [tasks[key] for key in draw(sorted(tasks), OFFERED, CHAT, TEST_SPLIT)]
            people = people_of(pairs)
            person = None if self.plays_persona else self._person()
            for number, task in enumerate(offered, 1):
                self._say(f"  {number}  {task.text}")
            round_number = 0
            while True:
                chosen = person or self._drawn(people, round_number)
                task = self._task(offered, chosen)
                self._converse(Pair(task, chosen))
                round_number += 1
        except (EOFError, _Quit):
            self._say("")

    def _person(self) -> Persona:
        name = self._line(f"Your name [{NAME}]: ") or NAME
        return Persona(text_id(name), name, "")

    def _drawn(self, people: list[Persona], number: int) -> Persona:
        by_id = {person.persona_id: person for person in people}
        order = draw(sorted(by_id), len(by_id), CHAT, TEST_SPLIT)
        return by_id[order[number % len(order)]]

    def _task(self, offered: list[Task], person: Persona) -> Task:
        """One of those that are offered, by its number, or what is typed."""
        as_whom = f" as {person.name}" if self.plays_persona else ""
        while not (text := self._line(f"\nYour request{as_whom}, or a number: ")):
            pass
        if text.isdigit() and 1 <= int(text) <= len(offered):
            return offered[int(text) - 1]
        return Task(text_id(text), text)

    def _converse(self, pair: Pair) -> None:
        sample = self.held.get(pair.key, 0)
        self.held[pair.key], self.answer_now = sample + 1, False
        players = {r.label: r for r in self.experiment.roleplayers_of(TEST_SPLIT)}
        cell = Cell(self.policy.number, CHAT)
        label = draw_roleplayer(self.experiment.seed, cell, pair, sample, list(players))
        talk = Talk(Conversation(pair, sample, label if self.plays_persona else ""))
        most = self.experiment.simulation.max_turns
        while not talk.has_ended:
            talk = replace(talk, answer_now=self.answer_now)
            turn = talk.next_turn(most)
            if turn != Turn.REPLY:
                talk = self._say_turn(talk, turn)
            elif (reply := self._reply(talk.conversation)) is not None:
                talk = talk.with_reply(reply)
            elif not self.answer_now:
                return
        if talk.response is not None:
            self.last = self.policy, talk

    def _reply(self, conversation: Conversation) -> str | None:
        """The reply to a question; None where the person wants the answer, or the Roleplayer's
        model refused.
        """
        name = conversation.pair.persona.name
        if not self.plays_persona:
            while not self.answer_now:
                if reply := self._line(f"{name}: "):
                    return reply
            return None
        players = {r.label: r for r in self.experiment.roleplayers_of(TEST_SPLIT)}
        player, turn = players[conversation.roleplayer], len(conversation.answers)
        model = self.speaker.model("roleplayer", None, player.model)
        cell = Cell(self.policy.number, CHAT)
        seed = conversation_seed(self.experiment.seed, "answer", cell, conversation, turn)
        reply = roleplayer_reply(player, model, self.experiment.told)([conversation], [seed])[0]
        self._say("(the model gave no reply)" if reply is None else f"{name}: {reply}")
        return reply

    def _say_turn(self, talk: Talk, turn: Turn) -> Talk:
        """The policy's turn, shown as it comes."""
        shown = _Growing(f"policy {self.policy.number}: ")
        said = self.speaker.say(self.policy, talk, turn, shown.show)
        talk = talk.with_said(turn, said)
        if talk.failure is not None:
            self._say(f"(no answer: {talk.failure})")
        else:
            shown.show(said.text)
            self._say(" […]" if said.finish_reason == "length" else "")
        return talk

    def _line(self, prompt: str) -> str:
        """What the person types; empty after a command, which is carried out."""
        line = self.read(prompt).strip()
        if not line.startswith("/"):
            return line
        match line.split():
            case ["/quit"]:
                raise _Quit
            case ["/answer"]:
                self.answer_now = True
            case ["/keep"]:
                self._keep()
            case ["/policy", number] if number.isdigit():
                self._change_policy(int(number))
            case _:
                self._say(COMMANDS)
        return ""

    def _change_policy(self, number: int) -> None:
        try:
            self.policy = find_policy(self.project, self.name, number)
        except DriverError as error:
            self._say(str(error))
        else:
            self._say(f"Policy {number}.")

    def _keep(self) -> None:
        if self.last is None:
            self._say("There is no answered conversation to keep yet.")
            return
        policy, talk = self.last
        persona_id = talk.conversation.pair.persona.persona_id if self.plays_persona else None
        self.speaker.keep(uuid4().hex, policy, talk, persona_id=persona_id)
        self._say(f"Kept: stargate sql 'from {self.name}.chats'")

    def _say(self, text: str) -> None:
        console.print(escape(text), soft_wrap=True)


@dataclass(slots=True)
class _Growing:
    """A text that is written as it grows, after who says it."""

    speaker: str
    written: str | None = None

    def show(self, text: str) -> None:
        """Write what is new in a text; all of it where it begins otherwise than before."""
        new = text.removeprefix(self.written or "")
        if self.written is None or not text.startswith(self.written):
            again = "" if self.written is None else "\n"
            new = f"{again}{self.speaker}{text}"
        console.print(escape(new), end="", soft_wrap=True)
        self.written = text


def read_line(prompt: str) -> str:
    """A line of standard input, which is a terminal or a pipe."""
    console.print(escape(prompt), end="", soft_wrap=True)
    try:
        line = input()
    except UnicodeDecodeError as error:
        raise DriverError("What was typed is not UTF-8; write it in UTF-8.") from error
    return line.encode(errors="replace").decode()


def start_chat(
    project: Project, name: str, number: int | None, read: Read, *, plays_persona: bool
) -> Chat:
    """A chat with a policy of an experiment, the latest unless its number is stated."""
    find_experiment(project, name)
    return Chat(project, name, find_policy(project, name, number), read, plays_persona)
