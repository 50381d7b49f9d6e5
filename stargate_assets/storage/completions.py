"""The completion store: the results of model calls on disk, so that no call is made twice.

It is a file of SQLite (`sqlite.py`), or a database that machines share (`postgres.py`). Results are
stored for ever, and the first one of a request is everybody's; a request that had no answer is
stored as a failure, to be asked again by the next run, and is given up when `RUNS` of them had
none. Every call is counted, one without an answer too, in the transaction that stores what came of
it, and paid from the budget that runs share, if there is one (`budget.py`).
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from typing import Any

from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    Failure,
    FailureReason,
    Score,
    ScoreRequest,
)
from stargate_assets.method.thoughts import read_completion
from stargate_assets.storage import batches, budget
from stargate_assets.storage.batches import Batch
from stargate_assets.storage.budget import Budget
from stargate_assets.storage.completions_sql import (
    COUNT_CALL,
    COUNT_FAILURE,
    SCHEMA,
    STORE_RESULT,
)
from stargate_assets.storage.database import CompletionStoreError, Database, Session

RUNS = 3
"""Runs that ask a request which has no answer; later ones take that for what it is."""
_KEYS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class Use:
    """What a model call is made for: a role (judge, ...) in a slice of an experiment or data set.

    `schema` is the DuckDB schema, which has the name of the experiment or data set.
    """

    schema: str
    slice: str
    role: str


@dataclass(frozen=True, slots=True)
class UsageRow:
    """All calls that one model ever had for one use. The columns of `warehouse.usage` are the same,
    and described in its schema.
    """

    schema_name: str
    slice: str
    role: str
    model: str
    kind: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    dollars: float | None
    estimated_calls: int = 0

    def __add__(self, other: "UsageRow") -> "UsageRow":
        """The calls of both, which are of one use, model and kind; an unknown price stays so."""
        dollars = (self.dollars, other.dollars)
        return replace(
            self,
            calls=self.calls + other.calls,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            seconds=self.seconds + other.seconds,
            dollars=None if None in dollars else sum(d or 0.0 for d in dollars),
            estimated_calls=self.estimated_calls + other.estimated_calls,
        )


@dataclass(frozen=True, slots=True)
class FailureRow:
    """A request that had no answer when it was last asked for one use. `runs` have asked it."""

    key: str
    schema_name: str
    slice: str
    role: str
    model: str
    reason: str
    said: str
    runs: int


def request_key(model: str, request: ChatRequest | ScoreRequest) -> str:
    """SHA-256 of everything that a result depends on: the model's identity and the whole request,
    as the method asks it. What an endpoint is sent may be less (a server that takes no seed); the
    key is the same, so that an answer is found again whichever fields the server takes by then.
    """
    return hashlib.sha256(_WRITE_KEY([model, type(request).__name__, request]).encode()).hexdigest()


def _stated_fields(part: Any) -> dict[str, Any]:
    """The fields of a dataclass, for JSON; `asdict` would copy all that is in them."""
    stated = {name: getattr(part, name) for name in part.__slots__}
    for newer in ("structure", "failure"):  # stores are older than these: rows are without them
        if newer in stated and stated[newer] is None:
            del stated[newer]
    return stated


_WRITE_KEY = json.JSONEncoder(sort_keys=True, default=_stated_fields).encode
_WRITE_RESULT = json.JSONEncoder(default=_stated_fields).encode


USAGE = ", ".join(field.name for field in fields(UsageRow))
"""The columns of a UsageRow."""


class CompletionStore:
    """The completion store in a database, where it is made if it does not exist."""

    def __init__(self, database: Database):
        self.database = database
        database.prepare(SCHEMA)

    def read(self, keys: Sequence[str]) -> dict[str, Completion | Score]:
        """The stored results, by key; a key without a result is left out."""
        query = "SELECT key, result FROM completions WHERE key IN"
        return {key: self._decode(result) for key, result in self._find(query, keys)}

    def given_up(self, keys: Sequence[str]) -> dict[str, Failure]:
        """The failures, by key, of requests that had no answer in `RUNS` runs."""
        query = f"SELECT key, reason, said FROM failures WHERE runs >= {RUNS} AND key IN"
        return {key: Failure(FailureReason(r), said) for key, r, said in self._find(query, keys)}

    def _find(self, query: str, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        with self.database.connect() as session:
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                batch = keys[start : start + _KEYS_PER_QUERY]
                places = ", ".join("?" * len(batch))
                found += session.execute(f"{query} ({places})", batch).fetchall()
        return found

    def _decode(self, result: str) -> Completion | Score:
        try:
            return _decode(json.loads(result))
        except (ValueError, TypeError, KeyError) as error:
            raise CompletionStoreError(self.database.describe_damage(error)) from error

    @contextmanager
    def writer(self, identity: str, use: Use, model: str) -> Iterator["Writer"]:
        """Open a writer that stores and counts results one at a time. `identity` is everything that
        tells the model from others, and `model` its name in the counts.
        """
        with self.database.connect() as session:
            key = (use.schema, use.slice, use.role, model)
            writer = Writer(session, self._decode, identity, key)
            try:
                yield writer
            finally:
                writer.release()

    def usage(self) -> list[UsageRow]:
        """The counts of all calls, by use, model and kind; those of copied stores included."""
        with self.database.connect() as session:
            rows = session.execute(f"SELECT {USAGE} FROM usage").fetchall()
            rows += session.execute(f"SELECT {USAGE} FROM copied_usage").fetchall()
        found: dict[tuple[str, ...], UsageRow] = {}
        for row in (UsageRow(*row) for row in rows):
            key = (row.schema_name, row.slice, row.role, row.model, row.kind)
            found[key] = row + found[key] if key in found else row
        return list(found.values())

    def failures(self, schemas: Sequence[str]) -> list[FailureRow]:
        """The requests of these experiments and data sets that have no answer."""
        query = (
            "SELECT * FROM failures WHERE key NOT IN (SELECT key FROM completions) "
            "ORDER BY schema_name, slice, role"
        )
        with self.database.connect() as session:
            rows = [FailureRow(*row) for row in session.execute(query).fetchall()]
        return [row for row in rows if row.schema_name in schemas]

    def forget_failures(self, schema: str, slices: Sequence[str]) -> None:
        """Let what has no answer in these slices be asked as if for the first time."""
        query = "DELETE FROM failures WHERE schema_name = ? AND slice = ?"
        with self.database.connect() as session:
            session.execute_each(query, [(schema, where) for where in slices])

    def count(self) -> int:
        """The number of stored results."""
        with self.database.connect() as session:
            return session.execute("SELECT count(*) FROM completions").fetchone()[0]

    def budget(self) -> Budget | None:
        """What all runs that share the store may pay, if that is limited."""
        with self.database.connect() as session:
            return budget.read_budget(session)

    def set_budget(self, dollars: float | None) -> None:
        """Let all runs together pay so many dollars from now on; None is without a limit."""
        with self.database.connect() as session:
            budget.set_budget(session, dollars)


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


def _decode(fields: dict[str, Any]) -> Completion | Score:
    if "log_probs" in fields:
        return Score(**{**fields, "log_probs": tuple(fields["log_probs"])})
    if "thought" not in fields:  # stores are older than this field: their texts may hold thoughts
        return read_completion(fields.pop("text"), **fields)
    return Completion(**fields)
