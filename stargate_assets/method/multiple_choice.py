"""A choice among options by log-probability: an answer that can be checked without a judge."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from stargate_assets.method.language_model import LanguageModel, Message, ScoreRequest


@dataclass(frozen=True, slots=True)
class Choice:
    """log p(option | context), in nats, normalised over the options: their probabilities sum to
    one.
    """

    log_probs: tuple[float, ...]

    def chooses(self, option: int) -> bool:
        """Whether an option is more probable than each other one."""
        others = (p for i, p in enumerate(self.log_probs) if i != option)
        return all(self.log_probs[option] > other for other in others)


def choose(
    scorer: LanguageModel,
    contexts: Sequence[tuple[tuple[Message, ...], Sequence[str]]],
    doing: str,
) -> list[Choice | None]:
    """The choice of a model in each context, among that context's options; None where an option
    cannot be scored, because it is too long for the model.
    """
    requests = [
        ScoreRequest(messages, option) for messages, options in contexts for option in options
    ]
    scores = iter(scorer.score(requests, doing))
    found: list[Choice | None] = []
    for _, options in contexts:
        of_options = [next(scores) for _ in options]
        if any(score.failure for score in of_options):
            found.append(None)
        else:
            found.append(normalise_choice([score.total for score in of_options]))
    return found


def normalise_choice(log_probs: Sequence[float]) -> Choice:
    """The choice that log-probabilities of whole options, in nats, come to."""
    most = max(log_probs)
    norm = most + math.log(sum(math.exp(p - most) for p in log_probs))
    return Choice(tuple(p - norm for p in log_probs))
