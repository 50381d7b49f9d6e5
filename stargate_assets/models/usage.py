"""What a run has asked of its models."""

from dataclasses import dataclass, field

from stargate_assets.method.language_model import Failure
from stargate_assets.storage.completions import Use


@dataclass(slots=True)
class Usage:
    """Calls that a run made, calls that the store answered, seconds in engines and training, and
    what providers were paid. `estimated` are calls whose tokens no server reported; `failures` are
    requests without an answer, by the store's key and what they were made for.
    """

    made: int = 0
    stored: int = 0
    estimated: int = 0
    failures: dict[tuple[str, Use], tuple[str, Failure]] = field(
        default_factory=dict[tuple[str, Use], tuple[str, Failure]]
    )
    """Each with the name of the model."""
    seconds: float = 0.0
    training_seconds: float = 0.0
    dollars: float = 0.0
