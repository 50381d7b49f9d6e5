"""How what comes of a call enters the completion store: stored, counted and paid in one
transaction.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from stargate_assets.method.language_model import Completion, Failure, Score
from stargate_assets.storage import batches, budget
from stargate_assets.storage.batches import Batch
from stargate_assets.storage.budget import Budget
from stargate_assets.storage.completions_sql import COUNT_CALL, COUNT_FAILURE, STORE_RESULT
from stargate_assets.storage.database import Session


def stated_fields(part: Any) -> dict[str, Any]:
    """The fields of a dataclass, for JSON; `asdict` would copy all that is in them."""
    stated = {name: getattr(part, name) for name in part.__slots__}
    for newer in ("structure", "failure"):  # stores are older than these: rows are without them
        if newer in stated and stated[newer] is None:
            del stated[newer]
    return stated


_WRITE_RESULT = json.JSONEncoder(default=stated_fields).encode


@dataclass(slots=True)
class Writer:
    """Stores the results of one model for one use; see `CompletionStore.writer`."""

    session: Session
    decode: Callable[[str], Completion | Score]
    identity: str
    usage_key: tuple[str, str, str, str]
    _holder: str | None = None
    _reserved: dict[str, float] = field(default_factory=dict[str, float])
    """What calls under way can cost at most, by key; empty without a budget."""
    _batch_of: dict[str, str] = field(default_factory=dict[str, str])
    """The names of the batches in which requests are under way, by key."""

    def write(
        self,
        key: str,
        result: Completion | Score,
        seconds: float,
        dollars: float | None,
        failure: Failure | None = None,
    ) -> Completion | Score:
        """Count and pay a call, and store its result under its key; if there is none, `failure`
        instead, if the run asks for it no more. When this returns, both survive the death of this
        process; only a machine that loses power may lose the last ones.

        Returns the result that holds: this one, unless another run has stored one before.
        """
        kind = "score" if isinstance(result, Score) else "chat"
        tokens = result.prompt_tokens, result.completion_tokens
        estimated = isinstance(result, Completion) and result.estimated
        text = "" if is_refusal(result) else _WRITE_RESULT(result)
        execute = self.session.execute
        with self.session.transaction():
            if text:
                execute(STORE_RESULT, (key, self.identity, text))
                execute("DELETE FROM failures WHERE key = ?", (key,))
            elif failure is not None:
                said = failure.said.replace("\0", "\N{REPLACEMENT CHARACTER}")  # for PostgreSQL
                execute(COUNT_FAILURE, (key, *self.usage_key, failure.reason.value, said))
            call = (*self.usage_key, kind, *tokens, seconds, dollars, int(estimated))
            if self._settle(key, dollars or 0.0):
                execute(COUNT_CALL, call)
            other = execute(
                "SELECT result FROM completions WHERE key = ? AND result <> ?", (key, text)
            )
        stored = other.fetchone()
        return result if stored is None else self.decode(stored[0])

    def _settle(self, key: str, paid: float) -> bool:
        """Pay a call; False if another run, which has waited for the same batch, has paid it."""
        name = self._batch_of.pop(key, None)
        if name is not None:
            is_ours = batches.take(self.session, name, key)
            budget.pay(self.session, paid if is_ours else 0.0)
            return is_ours
        if self._holder is not None and key in self._reserved:
            budget.settle(self.session, self._holder, self._reserved.pop(key), paid)
        return True

    def begin_batch(self, file: str, most: Mapping[str, float]) -> Batch:
        """Write down a batch that is about to be created: the id of its file, and what its requests
        can cost at most, by key. What was reserved for them is then the batch's.
        """
        with self.session.transaction():
            begun = batches.begin(self.session, file, most, self._batch_of)
            reserved = sum(self._reserved.pop(key, 0.0) for key in most)
            if self._holder is not None:
                budget.settle(self.session, self._holder, reserved, 0.0)
        self._batch_of |= dict.fromkeys(begun.keys, begun.name)
        return begun

    def note_batch(self, batch: Batch, batch_id: str) -> Batch:
        """Write down that a batch was created."""
        return batches.note_id(self.session, batch, batch_id)

    def batches_of(self, keys: Sequence[str]) -> list[Batch]:
        """The batches that have any of these requests, begun by this run or another."""
        found = batches.under_way(self.session, keys)
        for batch in found:
            self._batch_of |= dict.fromkeys(batch.keys, batch.name)
        return found

    def drop_from_batch(self, keys: Iterable[str]) -> None:
        """Take requests out of their batches that nothing came of and nobody is paid for."""
        with self.session.transaction():
            batches.take_all(self.session, [(self._batch_of.pop(key), key) for key in keys])

    def budget(self) -> Budget | None:
        """What all runs that share the store may pay, if that is limited."""
        return budget.read_budget(self.session)

    def reserve(self, most: Mapping[str, float]) -> tuple[int, Budget] | None:
        """Reserve what calls can cost at most, by key, instead of what was reserved before. Returns
        how many of them, from the first, can be paid, and the budget; None if there is none.
        """
        if self._holder is None:
            self._holder = self.session.holder()
        found = budget.reserve(self.session, self._holder, most)
        self._reserved = {} if found is None else dict(islice(most.items(), found[0]))
        return found

    def release(self) -> None:
        """Give back what is reserved for calls that have no result. A session that was lost has
        nothing reserved.
        """
        if self._holder is not None and self.session.is_connected:
            budget.release(self.session, self._holder)


def is_refusal(result: Completion | Score) -> bool:
    """Whether the request has no answer, because of a content filter or for another reason."""
    is_refused = isinstance(result, Completion) and result.finish_reason == "refused"
    return is_refused or result.failure is not None
