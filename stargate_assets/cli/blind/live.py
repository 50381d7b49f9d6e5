"""Raters who talk with both policies side by side before they judge: between the page and the
tables `chats` and `human_judgements`.
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from threading import Lock

import polars as pl

from stargate_assets.cli.blind.messages import (
    LiveComparison,
    LiveProgress,
    Offered,
    Reply,
    Said,
    Side,
    Wish,
)
from stargate_assets.cli.blind.session import UnknownComparisonError, judged_row, write_verdict
from stargate_assets.cli.estimate.sample import sample_pairs
from stargate_assets.cli.policies import Policy
from stargate_assets.cli.talks import CHATS, Speaker, Talk
from stargate_assets.config.digest import digest_text
from stargate_assets.definitions.project import Project
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.keys import text_id
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.raters import draw_pairs, response_stands_first
from stargate_assets.method.turn_taking import Turn
from stargate_assets.pipeline.assets.versions import policy_version
from stargate_assets.reporting.raters import HUMAN_JUDGEMENTS, digest_of_chats
from stargate_assets.storage.io_manager import slice_of


@dataclass(slots=True)
class LiveSession:
    """Two policies and any number of raters, each with one comparison under way. Everything that is
    said is a row before it is shown. One thread asks the models, in the order in which it is asked
    to.
    """

    speaker: Speaker
    policies: tuple[Policy, Policy]
    """The earlier, which is the reference, and the later."""
    pairs: Sequence[Pair]
    """In the order in which they are offered."""
    seed: int
    max_turns: int
    talks: dict[str, Talk] = field(default_factory=dict[str, Talk])
    """By the name of the conversation."""
    begun: dict[str, list[Pair]] = field(default_factory=dict[str, list[Pair]])
    """By rater."""
    judged: set[str] = field(default_factory=set[str])
    """The names of conversations that were judged."""
    jobs: dict[str, Future[None]] = field(default_factory=dict[str, Future[None]])
    writing: dict[str, str] = field(default_factory=dict[str, str])
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "asking"))
    turn: Lock = field(default_factory=Lock)

    @property
    def experiment(self) -> str:
        return self.speaker.name

    def read(self) -> None:
        """Take up what was said before, by these policies."""
        warehouse = self.speaker.project.warehouse
        there = warehouse.materializations(self.experiment)
        slices = [{"chat_id": chat_id} for table, chat_id in there if table == CHATS]
        chats = warehouse.read(self.experiment, CHATS, slices) if slices else pl.DataFrame()
        people = {pair.persona.persona_id: pair.persona for pair in self.pairs}
        tasks = {pair.task.text: pair.task for pair in self.pairs}
        for row in chats.sort("held_at").iter_rows(named=True) if slices else ():
            if row["rater"] is None or (row["persona_id"] or "") not in {"", *people}:
                continue
            person = people.get(row["persona_id"] or "") or _themselves(row["rater"])
            text = row["task"]
            pair = Pair(tasks.get(text) or Task(text_id(text), text), person)
            if row["chat_id"] not in self._names(row["rater"], pair):
                continue  # of other policies
            said = (*row["questions"], *filter(None, [row["unanswered"]]))
            conversation = Conversation(
                pair, 0, "", said, (False,) * len(said), tuple(row["answers"])
            )
            self.talks[row["chat_id"]] = Talk(
                conversation, False, row["response"], row["truncated"], row["failure"]
            )
            self._begun(row["rater"], pair)
        if (HUMAN_JUDGEMENTS, TEST_SPLIT) in there:
            rows = warehouse.read(self.experiment, HUMAN_JUDGEMENTS, [slice_of(TEST_SPLIT)])
            self.judged |= {*rows["chat_id"].drop_nulls()}

    def close(self) -> None:
        """Ask nothing more."""
        self.thread.shutdown(wait=False, cancel_futures=True)

    def progress(self, rater: str) -> LiveProgress:
        """Where a rater is; has the policies go on whose turn it is. Raises what stopped one that
        was to go on.
        """
        with self.turn:
            return self._progress(rater)

    def begin(self, wish: Wish) -> LiveProgress:
        """Begin what a rater wants to talk about, unless something is under way. Raises
        UnknownComparisonError.
        """
        with self.turn:
            if self._under_way(wish.rater) is None:
                pair = self._wanted(wish)
                for policy, chat_id in zip(
                    self.policies, self._names(wish.rater, pair), strict=True
                ):
                    self._keep(wish.rater, policy, chat_id, Talk(Conversation(pair, 0)))
                self._begun(wish.rater, pair)
            return self._progress(wish.rater)

    def reply(self, said: Reply) -> LiveProgress:
        """Keep a reply, or that the answer is wanted, where a policy waits for one. Raises
        UnknownComparisonError.
        """
        with self.turn:
            pair, first = self._compared(said.rater, said.comparison)
            side = int((said.place == "left") == first)
            policy, chat_id = self.policies[side], self._names(said.rater, pair)[side]
            talk = self.talks[chat_id]
            text = (said.text or "").strip()
            waits = not talk.has_ended and talk.next_turn(self.max_turns) == Turn.REPLY
            if waits and said.text is None:
                self.talks[chat_id] = replace(talk, answer_now=True)
            elif waits and text:
                self._keep(said.rater, policy, chat_id, talk.with_reply(text))
            return self._progress(said.rater)

    def record(self, said: Said) -> LiveProgress:
        """Keep a verdict on two answers. Raises UnknownComparisonError."""
        with self.turn:
            pair, first = self._compared(said.rater, said.comparison)
            names = self._names(said.rater, pair)
            if any(self.talks[chat_id].response is None for chat_id in names):
                raise UnknownComparisonError("Both must have answered before one can be chosen.")
            reference, policy = (found.number for found in self.policies)
            row = judged_row(said, pair, (reference, policy), first)
            row |= {"texts": digest_of_chats(*names[::-1])}
            row |= {"reference_chat_id": names[0], "chat_id": names[1]}
            write_verdict(self.speaker.project.warehouse, self.experiment, row)
            self.judged |= {names[1]}
            return self._progress(said.rater)

    def _progress(self, rater: str) -> LiveProgress:
        judged = sum(
            self._names(rater, pair)[1] in self.judged for pair in self.begun.get(rater, ())
        )
        pair = self._under_way(rater)
        if pair is None:
            return LiveProgress(judged=judged, offered=self._offered(rater), lost=self._lost(rater))
        for policy, chat_id in zip(self.policies, self._names(rater, pair), strict=True):
            self._go_on(rater, policy, chat_id)
        first = self._later_stands_first(rater)
        reference, later = (self._side(chat_id) for chat_id in self._names(rater, pair))
        left, right = (later, reference) if first else (reference, later)
        task, person = pair.task, pair.persona
        name = self._comparison(rater, pair)
        shown = LiveComparison(
            comparison=name, task=task.text, name=person.known_as, persona=person.text, left=left,
            right=right,
        )  # fmt: skip
        return LiveProgress(judged=judged, shown=shown)

    def _side(self, chat_id: str) -> Side:
        talk, waiting = self.talks[chat_id], [n for n, job in self.jobs.items() if not job.done()]
        said = list[str]()
        for turn, question in enumerate(talk.conversation.questions):
            said += [question, *talk.conversation.answers[turn : turn + 1]]
        return Side(
            said=said,
            writing=self.writing.get(chat_id, ""),
            ahead=waiting.index(chat_id) if chat_id in waiting else None,
            response=talk.response,
        )

    def _go_on(self, rater: str, policy: Policy, chat_id: str) -> None:
        """Have a policy take its turn, if it is its turn. Raises what went wrong last time."""
        job = self.jobs.get(chat_id)
        if job is not None and job.done():
            self.jobs.pop(chat_id).result()
            job = None
        talk = self.talks[chat_id]
        if job is None and not talk.has_ended and talk.next_turn(self.max_turns) != Turn.REPLY:
            self.jobs[chat_id] = self.thread.submit(self._take_turns, rater, policy, chat_id)

    def _take_turns(self, rater: str, policy: Policy, chat_id: str) -> None:
        """What a policy says until it is the rater's turn; in the thread that asks."""
        try:
            while not (talk := self.talks[chat_id]).has_ended:
                turn = talk.next_turn(self.max_turns)
                if turn == Turn.REPLY:
                    return
                said = self.speaker.say(
                    policy, talk, turn, lambda text: self.writing.update({chat_id: text})
                )
                with self.turn:
                    self._keep(rater, policy, chat_id, talk.with_said(turn, said))
                    self.writing.pop(chat_id, None)
        finally:
            self.writing.pop(chat_id, None)

    def _keep(self, rater: str, policy: Policy, chat_id: str, talk: Talk) -> None:
        person = talk.conversation.pair.persona
        played = None if person == _themselves(rater) else person.persona_id
        self.speaker.keep(chat_id, policy, talk, persona_id=played, rater=rater)
        self.talks[chat_id] = talk

    def _under_way(self, rater: str) -> Pair | None:
        """What a rater has begun and neither judged nor lost because a policy gave no answer."""
        for pair in self.begun.get(rater, ()):
            if not self._is_closed(rater, pair):
                return pair
        return None

    def _is_closed(self, rater: str, pair: Pair) -> bool:
        names = self._names(rater, pair)
        return names[1] in self.judged or any(self.talks[name].failure for name in names)

    def _lost(self, rater: str) -> str | None:
        """Why a policy gave no answer in what the rater has begun last."""
        last = self.begun.get(rater, [])[-1:]
        failures = [self.talks[name].failure for pair in last for name in self._names(rater, pair)]
        return next(filter(None, failures), None)

    def _later_stands_first(self, rater: str) -> bool:
        """Of the comparison under way: half of each block's of those before it that were judged."""
        place = sum(self._names(rater, p)[1] in self.judged for p in self.begun[rater])
        return response_stands_first(place, rater, self.seed)

    def _compared(self, rater: str, comparison: str) -> tuple[Pair, bool]:
        """What is under way under this name, and whether the later policy stands left."""
        pair = self._under_way(rater)
        if pair is None or self._comparison(rater, pair) != comparison:
            raise UnknownComparisonError("This comparison is not under way; reload the page.")
        return pair, self._later_stands_first(rater)

    def _comparison(self, rater: str, pair: Pair) -> str:
        names = self._names(rater, pair)
        return digest_text(*(names[::-1] if self._later_stands_first(rater) else names))

    def _offered(self, rater: str) -> Offered | None:
        """The first pair that a rater has not begun."""
        for pair in self.pairs:
            if pair not in self.begun.get(rater, ()):
                return Offered(
                    name=pair.persona.known_as, persona=pair.persona.text, task=pair.task.text
                )
        return None

    def _wanted(self, wish: Wish) -> Pair:
        begun, text = self.begun.get(wish.rater, []), wish.request.strip()
        pair = Pair(Task(text_id(text), text), _themselves(wish.rater))
        if not text:
            left = [offered for offered in self.pairs if offered not in begun]
            if not left:
                raise UnknownComparisonError("Write what you want to ask for.")
            pair = left[0]
        if pair.key in {other.key for other in begun}:
            raise UnknownComparisonError("You have compared that already; ask for something else.")
        return pair

    def _begun(self, rater: str, pair: Pair) -> None:
        of_rater = self.begun.setdefault(rater, [])
        if pair not in of_rater:
            of_rater.append(pair)
        for chat_id in self._names(rater, pair):
            self.talks.setdefault(chat_id, Talk(Conversation(pair, 0)))

    def _names(self, rater: str, pair: Pair) -> tuple[str, str]:
        """The names of a rater's conversations with the earlier and the later policy."""
        earlier, later = (
            digest_text(rater, *pair.key, str(p.number), policy_version(p.checkpoint))
            for p in self.policies
        )
        return earlier, later


def start_live_session(project: Project, name: str, policies: tuple[Policy, Policy]) -> LiveSession:
    """A session of two policies, the earlier first, with the pairs of the test split, and what was
    said before.
    """
    experiment = project.experiments[name]
    every = sample_pairs(project, experiment.data_set, TEST_SPLIT).every
    pairs, most = draw_pairs(every, experiment.seed), experiment.simulation.max_turns
    session = LiveSession(Speaker(project, name), policies, pairs, experiment.seed, most)
    session.read()
    return session


def _themselves(rater: str) -> Persona:
    return Persona(text_id(rater), rater, "")
