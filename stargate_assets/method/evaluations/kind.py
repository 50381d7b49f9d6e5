"""What an external evaluation is made of: items with a known truth, what is measured of each, and
figures over all of them.

An item is a pair like any other, so policies, Roleplayers and prompts are those of the experiment:
the task is what the user brings, the persona what the user knows, a sentence for each thing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.errors import StargateError
from stargate_assets.method.keys import text_id
from stargate_assets.method.language_model import LanguageModel, Sampling
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.simulation import Cell
from stargate_assets.method.statistics import (
    Estimate,
    PairValues,
    clustered_ratio,
    mean_estimate,
    ratio_difference,
    share_estimate,
    two_way_clustered,
)
from stargate_assets.method.text import sentences

NAME = "Sam"
"""What the user is called, for prompts that say a name."""
Values = Mapping[str, float]
"""What was measured of an item, by the measure's name."""


class ItemError(StargateError):
    """A publisher's record is not what the evaluation is made of. The message says what it
    lacks.
    """


@dataclass(frozen=True, slots=True)
class Detail:
    """Something that the task does not say: its importance from 1 to 3, the options that a user may
    have in mind, and the one that this user has.
    """

    description: str
    importance: int
    options: tuple[str, ...]
    option: str


@dataclass(frozen=True, slots=True)
class Item:
    """`cluster` is what makes items alike, such as a category. One without anything to ask for has
    one turn, which shows whether the policy asks all the same.
    """

    pair: Pair
    cluster: str
    is_clear: bool = False
    details: tuple[Detail, ...] = ()
    options: tuple[str, ...] = ()
    right: int = 0
    """Which of the options is right."""

    @property
    def item_id(self) -> str:
        return self.pair.task.task_id


@dataclass(frozen=True, slots=True)
class Asked:
    """Who is asked about the items of a cell, and how: the policy; the base model for scores."""

    cell: Cell
    policy: LanguageModel
    scorer: LanguageModel
    prompts: Prompts
    sampling: Sampling
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one item shows of a policy. A value that could not be had is left out of `values`."""

    item: Item
    conversation: Conversation
    values: Values
    first: str | None = None
    """What the policy says to the task alone, where an evaluation asks for that."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A ratio of two sums over the items that have the measures `needs`. It lies in [0, 1] if it is
    a share. There is none where the lower sum is not positive, or not surely so: the interval of
    what no share is relative to must lie above 0.
    """

    label: str
    needs: tuple[str, ...]
    upper: Callable[[Values], float]
    lower: Callable[[Values], float]
    is_share: bool = True

    def estimate(self, outcomes: Sequence[Outcome]) -> Estimate | None:
        """The figure, with an interval that is clustered by the items' clusters."""
        upper, lower = self._sums(outcomes)
        found = clustered_ratio(upper, lower)
        if found is None or not self._is_sure(lower):
            return None
        return share_estimate(found) if self.is_share else mean_estimate(found)

    def difference(self, outcomes: Sequence[Outcome], others: Sequence[Outcome]) -> Estimate | None:
        """How much higher it is than in the others, on the items that both have. There is none
        where it differs by the same on every item that counts: nothing says then how it would vary.
        """
        sums, compared = self._sums(outcomes), self._sums(others)
        found = ratio_difference(sums, compared)
        if found is None or (found.variance == 0 and found.mean != 0):
            return None
        sure = self._is_sure(sums[1]) and self._is_sure(compared[1])
        return mean_estimate(found) if sure else None

    def _is_sure(self, lower: PairValues) -> bool:
        return self.is_share or two_way_clustered(lower).low > 0

    def _sums(self, outcomes: Sequence[Outcome]) -> tuple[PairValues, PairValues]:
        usable = {
            (o.item.item_id, o.item.cluster): o.values
            for o in outcomes
            if all(name in o.values for name in self.needs)
        }
        return (
            {key: self.upper(values) for key, values in usable.items()},
            {key: self.lower(values) for key, values in usable.items()},
        )


@dataclass(frozen=True, slots=True)
class Kind:
    """`read` makes an item of a publisher's record, or raises ItemError; `measure` finds the
    outcome of each item, after its conversation. `measures` says what each value is.
    """

    description: str
    read: Callable[[Mapping[str, object]], Item]
    measure: Callable[[Sequence[Item], Sequence[Conversation], Asked], list[Outcome]]
    measures: Mapping[str, str]
    figures: tuple[Figure, ...]


def share_of(measure: str, among: str) -> Callable[[Values], float]:
    """What a share counts above: a measure, where another one holds."""
    return lambda values: values[measure] * values[among]


def value_of(measure: str) -> Callable[[Values], float]:
    return lambda values: values[measure]


def one(values: Values) -> float:
    """What a mean counts below: every item once."""
    del values
    return 1.0


def read_text(record: Mapping[str, object], field: str) -> str:
    """A text that a record must have."""
    value = record.get(field)
    if not isinstance(value, str) or not value.strip():
        raise ItemError(f"{field} has no text")
    return value.strip()


def read_list(record: Mapping[str, object], field: str) -> list[object]:
    """A list that a record must have, empty or not."""
    value = record.get(field)
    if not isinstance(value, list):
        raise ItemError(f"{field} is no list")
    return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def as_sentence(text: str) -> str:
    """A text as one sentence, so that a Roleplayer can choose it as a whole."""
    parts = [part.rstrip(" .!?") for part in sentences(text)]
    return f"{'; '.join(part for part in parts if part)}."


def item_id(*texts: str) -> str:
    """The id of an item: of the text that the user brings."""
    return text_id(*texts)
