"""Batches of requests that providers work on: which requests they have, until each of these has an
answer here.

A batch is written down, with the id of its file, before it is created, and its own id as soon as it
is known. So whoever is killed in between is followed by one who finds it. A request leaves its
batch in the transaction that stores what came of it, and whoever takes it out pays for it: that is
one run, however many have waited for the batch. Until then the budget counts what it can cost.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import uuid4

from stargate_assets.storage.database import Session

_KEYS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class Batch:
    """`name` is ours, `file` and `id` are the provider's; `id` is None where nobody has heard
    whether the batch was created.
    """

    name: str
    file: str
    id: str | None
    keys: tuple[str, ...]


def begin(
    session: Session, file: str, most: Mapping[str, float], instead: Mapping[str, str]
) -> Batch:
    """Write down a batch that is about to be created: what its requests can cost at most, by key.
    Those that are sent again leave the batch that they were in (`instead`). Part of a transaction.
    """
    batch = Batch(uuid4().hex, file, None, tuple(most))
    session.execute("INSERT INTO batches VALUES (?, ?, NULL)", (batch.name, file))
    for key, dollars in most.items():
        if key in instead:
            take(session, instead[key], key)
        session.execute("INSERT INTO batch_requests VALUES (?, ?, ?)", (key, batch.name, dollars))
    return batch


def note_id(session: Session, batch: Batch, batch_id: str) -> Batch:
    """Write down that a batch was created."""
    session.execute("UPDATE batches SET id = ? WHERE name = ?", (batch_id, batch.name))
    return replace(batch, id=batch_id)


def under_way(session: Session, keys: Sequence[str]) -> list[Batch]:
    """The batches that have any of these requests, each with those of them that it has."""
    found: dict[tuple[str, str, str | None], list[str]] = {}
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        some = keys[start : start + _KEYS_PER_QUERY]
        rows = session.execute(
            "SELECT name, file, id, key FROM batch_requests JOIN batches ON name = batch "
            f"WHERE key IN ({', '.join('?' * len(some))})",
            some,
        )
        for *batch, key in rows.fetchall():
            found.setdefault((batch[0], batch[1], batch[2]), []).append(key)
    return [Batch(*batch, tuple(there)) for batch, there in found.items()]


def take(session: Session, name: str, key: str) -> bool:
    """Take a request out of its batch; False if another run has."""
    gone = "DELETE FROM batch_requests WHERE batch = ? AND key = ? RETURNING key"
    return session.execute(gone, (name, key)).fetchone() is not None


def take_all(session: Session, taken: Iterable[tuple[str, str]]) -> None:
    """Take requests, each of a batch, out of it: nobody is paid for them."""
    for name, key in taken:
        take(session, name, key)


def dollars_under_way(session: Session) -> float:
    """What all requests in batches can cost at most."""
    return session.execute("SELECT coalesce(sum(dollars), 0.0) FROM batch_requests").fetchone()[0]
