"""What raters are shown and what they say: between the page and the table `human_judgements`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from threading import Lock

from pydantic import TypeAdapter, ValidationError

from stargate_assets.cli.blind.messages import Progress, Rater, Said, Shown
from stargate_assets.config.digest import digest_text
from stargate_assets.method.conversation import Pair
from stargate_assets.method.errors import StargateError
from stargate_assets.method.judging import Comparison, Verdict
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.raters import draw_order, response_stands_first
from stargate_assets.pipeline.assets.rows import table_rows
from stargate_assets.reporting.raters import HUMAN_JUDGEMENTS, Policies, digest_of
from stargate_assets.storage.io_manager import slice_of
from stargate_assets.storage.warehouse import Warehouse

_RATER: TypeAdapter[str] = TypeAdapter(Rater)


class RaterNameError(StargateError):
    """A name cannot stand for a rater. The message says what can."""


def check_rater(name: str) -> str:
    """The name without blanks around it. Raises RaterNameError."""
    try:
        return _RATER.validate_python(name)
    except ValidationError as error:
        raise RaterNameError(
            "A rater's name is one line of 1 to 60 characters; state such a one."
        ) from error


class UnknownComparisonError(StargateError):
    """The page shows what is not compared here. The message says what to do."""


@dataclass(frozen=True)
class Session:
    """The comparisons of two policies' responses, for any number of raters. DuckDB opens a file in
    one way at a time in a process, so requests take turns at it.
    """

    warehouse: Warehouse
    experiment: str
    policies: Policies
    comparisons: Sequence[Comparison]
    """In the order in which they are shown."""
    seed: int
    turn: Lock = field(default_factory=Lock)

    def progress(self, rater: str) -> Progress:
        """What a rater is shown next."""
        with self.turn:
            return self._progress(rater)

    def record(self, said: Said) -> Progress:
        """Keep a verdict, unless the rater has judged the pair already, and go on. Raises
        UnknownComparisonError.
        """
        if said.comparison not in self._by_name:
            raise UnknownComparisonError(
                "The policies have answered anew since this was shown; reload the page."
            )
        comparison, response_first = self._by_name[said.comparison]
        with self.turn:
            if digest_of(comparison) not in self._judged(said.rater).get(comparison.pair.key, ()):
                row = judged_row(said, comparison.pair, self.policies, response_first)
                row |= {"texts": digest_of(comparison)}
                write_verdict(self.warehouse, self.experiment, row)
            return self._progress(said.rater)

    def _progress(self, rater: str) -> Progress:
        judged = self._judged(rater)
        left = [
            (place, c)
            for place, c in enumerate(self.comparisons)
            if digest_of(c) not in judged.get(c.pair.key, ())
        ]
        done = len(self.comparisons) - len(left)
        if not left:
            return Progress(judged=done, of=done, shown=None)
        place, comparison = left[0]
        first = response_stands_first(place, rater, self.seed)
        return Progress(judged=done, of=len(self.comparisons), shown=_shown(comparison, first))

    def _judged(self, rater: str) -> dict[tuple[str, str], set[str]]:
        """The texts of each pair that a rater has judged."""
        if (HUMAN_JUDGEMENTS, TEST_SPLIT) not in self.warehouse.materializations(self.experiment):
            return {}
        reference, policy = self.policies
        rows = self.warehouse.read(self.experiment, HUMAN_JUDGEMENTS, [slice_of(TEST_SPLIT)])
        of_rater = rows.filter(rater=rater, iteration=policy, reference_iteration=reference)
        found: dict[tuple[str, str], set[str]] = {}
        for task, person, texts in of_rater.select("task_id", "persona_id", "texts").iter_rows():
            found.setdefault((task, person), set()).add(texts)
        return found

    @cached_property
    def _by_name(self) -> dict[str, tuple[Comparison, bool]]:
        return {
            _shown(comparison, first).comparison: (comparison, first)
            for comparison in self.comparisons
            for first in (True, False)
        }


def start_session(
    warehouse: Warehouse,
    experiment: str,
    policies: Policies,
    comparisons: Sequence[Comparison],
    seed: int,
) -> Session:
    """A session with the comparisons of which both responses are there."""
    both = [c for c in comparisons if None not in (c.response, c.reference)]
    return Session(warehouse, experiment, policies, draw_order(both, seed), seed)


def _shown(comparison: Comparison, response_first: bool) -> Shown:
    texts = comparison.response or "", comparison.reference or ""
    left, right = texts if response_first else texts[::-1]
    task, person = comparison.pair.task, comparison.pair.persona
    name = digest_text(*comparison.pair.key, left, right)
    return Shown(
        comparison=name, task=task.text, name=person.known_as, persona=person.text, left=left,
        right=right,
    )  # fmt: skip


def judged_row(
    said: Said, pair: Pair, policies: Policies, response_first: bool
) -> dict[str, object]:
    """A verdict as a row, which says of the later policy what the rater says of a place; without
    what was compared.
    """
    task_id, persona_id = pair.key
    verdict = Verdict.TIE
    if said.prefers != "tie":
        verdict = Verdict.WIN if (said.prefers == "left") == response_first else Verdict.LOSS
    return {
        "iteration": policies[1],
        "split": TEST_SPLIT,
        "task_id": task_id,
        "persona_id": persona_id,
        "reference_iteration": policies[0],
        "rater": said.rater,
        "verdict": verdict,
        "response_first": response_first,
        "reason": said.reason.strip() or None,
        "seconds": said.seconds,
        "judged_at": datetime.now(UTC).replace(tzinfo=None),
    }


def write_verdict(warehouse: Warehouse, experiment: str, row: dict[str, object]) -> None:
    """Add a verdict to those that are there."""
    frame = table_rows(HUMAN_JUDGEMENTS, [row])
    version, where = digest_text(frame.write_json()), slice_of(TEST_SPLIT)
    warehouse.write(experiment, HUMAN_JUDGEMENTS, where, frame, version, by_key=True)
