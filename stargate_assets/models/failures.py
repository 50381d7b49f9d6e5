"""When requests without an answer are no longer each one's own fault."""

from collections import Counter
from dataclasses import dataclass, field

from stargate_assets.engines.endpoint_errors import KEPT
from stargate_assets.method.language_model import EngineError, Failure, FailureReason

FEWEST = 10
"""So many failures at least, before there can be too many of them."""
FIRST = 100
"""Failures come sooner than answers: the share is of so many requests at least, if there are."""
SILENCE = 100
"""So many answers on end that were lost or made no sense are the endpoint's fault."""
UNREAD = (FailureReason.EXPIRED, FailureReason.CANCELLED)
"""Of a batch that ended early: no request was tried, so none was answered with silence."""


class TooManyFailuresError(EngineError):
    """Too many requests have no answer for what is made of the others to mean anything."""


@dataclass(slots=True)
class FailureCount:
    """Of the `total` requests that are asked together; `doing` says for what."""

    name: str
    doing: str
    total: int
    max_share: float
    failed: Counter[FailureReason] = field(default_factory=Counter[FailureReason])
    said: dict[FailureReason, str] = field(default_factory=dict[FailureReason, str])
    silent: int = 0
    """Tries on end that had no answer."""
    is_reached: bool = False
    """Whether anything was ever answered, a refusal included."""

    def count_try(self, failure: Failure | None) -> None:
        """Count what came of one call. Raises EngineError if nothing has come of many."""
        if failure is None or not failure.may_pass or failure.reason in UNREAD:
            self.silent = 0
        else:
            self.silent += 1
        self.is_reached |= failure is None or failure.reason is not FailureReason.LOST
        if failure is not None and self.silent >= SILENCE:
            raise self._silence(failure.said)

    def count_failure(self, failure: Failure, done: int) -> None:
        """Count a request that has no answer for good; `done` of all have one or the other. Raises
        TooManyFailuresError.
        """
        self.failed[failure.reason] += 1
        self.said.setdefault(failure.reason, failure.said)
        count = self.failed.total()
        if count >= FEWEST and count > self.max_share * max(done, min(self.total, FIRST)):
            reason, _ = self.failed.most_common(1)[0]
            raise TooManyFailuresError(
                f"{count} of {done} requests to {self.name} ({self.doing}) have no answer, most of "
                f"them for the reason {reason} ({self.said[reason]}); mend that, or raise "
                f"max_failure_share in machine.yaml, and run again: {KEPT}."
            )

    def check_reached(self) -> None:
        """Raises EngineError if every answer was lost."""
        if self.failed.total() == self.total and not self.is_reached and self.silent:
            raise self._silence(self.said[FailureReason.LOST])

    def _silence(self, said: str) -> EngineError:
        return EngineError(
            f"{self.name} gives no answer ({self.doing}; {said}); see that the endpoint runs and "
            f"that its address is right, and run again: {KEPT}."
        )
