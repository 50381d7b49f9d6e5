"""What all runs that share a completion store may pay together.

A run reserves what its next calls can cost at most, and pays what they did cost; both are in the
database, where one run at a time can change them. So no run can spend what another may still
need. What a run has reserved is free again when its session ends, however it does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate

from stargate_assets.storage.batches import dollars_under_way
from stargate_assets.storage.database import Session


@dataclass(frozen=True, slots=True)
class Budget:
    """In dollars: what may be paid since the budget was set, what is paid since then, and what
    runs that are under way have reserved, or batches that are under way can cost.
    """

    dollars: float
    paid: float
    reserved: float


def read_budget(session: Session) -> Budget | None:
    """The budget that holds now, if there is one."""
    row = session.execute("SELECT dollars, paid FROM budget").fetchone()
    if row is None:
        return None
    dollars, paid = row
    reserved = sum(_reservations(session)[0].values())
    return Budget(dollars, paid, reserved + dollars_under_way(session))


def set_budget(session: Session, dollars: float | None) -> None:
    """Let so many dollars be paid from now on; None is without a limit."""
    if dollars is None:
        session.execute("DELETE FROM budget")
        return
    session.execute(
        "INSERT INTO budget VALUES (1, ?, 0) "
        "ON CONFLICT (one) DO UPDATE SET dollars = excluded.dollars, paid = 0",
        [dollars],
    )


def reserve(session: Session, holder: str, most: Mapping[str, float]) -> tuple[int, Budget] | None:
    """Reserve the dollars that calls can cost at most, for as many of them, from the first, as can
    be paid; returns how many, and the budget that they were held against. None: there is no budget.
    """
    with session.transaction():
        session.execute("UPDATE budget SET paid = paid")  # from here on one run at a time
        row = session.execute("SELECT dollars, paid FROM budget").fetchone()
        if row is None:
            return None
        others, dead = _reservations(session)
        for ended in dead:
            release(session, ended)
        others.pop(holder, None)
        dollars, paid = row
        budget = Budget(dollars, paid, sum(others.values()) + dollars_under_way(session))
        left = dollars - paid - budget.reserved
        sums = [total for total in accumulate(most.values()) if total <= left]
        session.execute(
            "INSERT INTO reservations VALUES (?, ?) "
            "ON CONFLICT (holder) DO UPDATE SET dollars = excluded.dollars",
            [holder, sums[-1] if sums else 0.0],
        )
        return len(sums), budget


def settle(session: Session, holder: str, most: float, paid: float) -> None:
    """Pay a call that was reserved. Part of the transaction that stores what came of it."""
    session.execute(
        "UPDATE reservations SET dollars = dollars - ? WHERE holder = ?", [most, holder]
    )
    pay(session, paid)


def pay(session: Session, paid: float) -> None:
    """Pay a call of which nothing is reserved any more."""
    session.execute("UPDATE budget SET paid = paid + ?", [paid])


def release(session: Session, holder: str) -> None:
    """Give back what is left of a reservation."""
    session.execute("DELETE FROM reservations WHERE holder = ?", [holder])


def _reservations(session: Session) -> tuple[dict[str, float], set[str]]:
    """Dollars by holder, of sessions that live; and the holders of sessions that have ended."""
    reserved = dict(session.execute("SELECT holder, dollars FROM reservations").fetchall())
    living = session.living(reserved)
    return {h: dollars for h, dollars in reserved.items() if h in living}, reserved.keys() - living
