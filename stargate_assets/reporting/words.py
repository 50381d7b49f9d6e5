"""Numbers as people read them."""

NARROW = "\u202f"
"""A narrow space that does not break."""
MINUS = "−"


def percent(share: float) -> str:
    return f"{100 * share:.0f}{NARROW}%".replace("-", MINUS)


def nats(value: float) -> str:
    """A level, with one digit after the point and a true minus sign."""
    return f"{value:,.1f}".replace("-", MINUS)


def signed(value: float, digits: int = 1) -> str:
    """A difference, with its sign."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def count(value: int) -> str:
    return f"{value:,}"


def points(share: float) -> str:
    """A difference of two shares, in percentage points."""
    return signed(100 * share, 0)


def dollars(value: float) -> str:
    return f"${value:,.2f}" if value == 0 or value >= 0.01 else "under $0.01"


def plural(number: int, one: str, many: str | None = None) -> str:
    """A count with its noun."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
