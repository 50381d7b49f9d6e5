"""Numbers written for people to read."""

NARROW = "\u202f"
"""A narrow space that does not break."""
MINUS = "−"


def percent(share: float) -> str:
    return f"{100 * share:.0f}{NARROW}%".replace("-", MINUS)


def nats(value: float) -> str:
    """Write a log-probability with one decimal and a true minus sign."""
    return f"{value:,.1f}".replace("-", MINUS)


def signed(value: float, digits: int = 1) -> str:
    """Write a difference with its sign."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def count(value: int) -> str:
    return f"{value:,}"


def points(share: float) -> str:
    """Write a difference of two shares in percentage points."""
    return signed(100 * share, 0)


def dollars(value: float) -> str:
    return f"${value:,.2f}" if value == 0 or value >= 0.01 else "under $0.01"


def plural(number: int, one: str, many: str | None = None) -> str:
    """Write a count with its noun in the right number."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
