"""The conversations that are learnt from: the best of each pair's siblings (Algorithm 1, line 4).

The paper keeps the one with the highest sum of log-probabilities. Other objectives, the costs and
the margin are not in the paper.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from stargate_assets.method.conditions import CONTROLS, Condition
from stargate_assets.method.conversation import Conversation
from stargate_assets.method.eligibility import ineligibility
from stargate_assets.method.objectives import OBJECTIVES, Scored
from stargate_assets.method.scoring import GoldLogProb
from stargate_assets.method.text import words


@dataclass(frozen=True, slots=True)
class Candidate:
    """A conversation that could be selected. `value` is what the objective makes of it, in nats (of
    objective mean: nats a token), and `log_prob` that of its gold response, in nats.
    """

    conversation: Conversation
    value: float
    log_prob: float


@dataclass(frozen=True, slots=True)
class Selected:
    """A conversation that is learnt from; `rank` counts from 1, the best of its pair."""

    conversation: Conversation
    rank: int
    value: float
    log_prob: float


def select_conversations(
    conversations: Iterable[Conversation],
    scores: Sequence[GoldLogProb],
    *,
    objective: str,
    top: int,
    margin: float | None,
    question_cost: float,
    word_cost: float,
) -> list[Selected]:
    """Select the `top` conversations of each pair, ordered by pair and rank, of those that can be
    (`find_candidates`).
    """
    candidates = find_candidates(
        conversations,
        scores,
        objective=objective,
        question_cost=question_cost,
        word_cost=word_cost,
    )
    absolute = OBJECTIVES[objective].compared_with is not None
    return select_best(candidates, top, margin, absolute=absolute)


def find_candidates(
    conversations: Iterable[Conversation],
    scores: Sequence[GoldLogProb],
    *,
    objective: str,
    question_cost: float,
    word_cost: float,
) -> list[Candidate]:
    """The conversations that could be selected, each with its value.

    `scores` are the cell's, those of the condition that the objective compares with included. Costs
    are in nats, for each question and for each word of a question. A conversation that is
    ineligible or was not scored is none.
    """
    stated = OBJECTIVES[objective]
    own = _log_probs(scores, Condition.EXPERIMENTAL)
    compared = _log_probs(scores, stated.compared_with) if stated.compared_with else {}
    once = stated.compared_with in CONTROLS
    candidates: list[Candidate] = []
    for c in conversations:
        score = own.get(c.key)
        against = compared.get((*c.pair.key, None if once else c.sample))
        if score is None or ineligibility(c) is not None:
            continue
        if stated.compared_with is not None and against is None:
            continue
        chosen = [of.choice_log_prob for of in (score, against) if of is not None]
        if stated.candidates is not None and None in chosen:
            continue
        asked = sum(len(words(question)) for question in c.questions)
        cost = question_cost * len(c.questions) + word_cost * asked
        scored = Scored(
            score.log_prob,
            score.tokens,
            against.log_prob if against else 0.0,
            cost,
            score.choice_log_prob or 0.0,
            (against and against.choice_log_prob) or 0.0,
        )
        candidates.append(Candidate(c, stated.value(scored), score.log_prob))
    return candidates


def select_best(
    candidates: Iterable[Candidate],
    top: int,
    margin: float | None = None,
    *,
    absolute: bool = False,
) -> list[Selected]:
    """Select the `top` candidates of each pair, best first.

    With a `margin`, those that are not that far above zero (`absolute`), or above the mean of their
    pair's candidates, are left out. Ties go to the lower sample. A value that is not finite never
    wins: NaN would win an argmax.
    """
    selected: list[Selected] = []
    for siblings in group_siblings(candidates):
        ranked = sorted(siblings, key=lambda c: (-c.value, c.conversation.sample))
        above = 0.0 if absolute else fmean(c.value for c in ranked)
        kept = [c for c in ranked[:top] if margin is None or c.value - above >= margin]
        selected += [
            Selected(c.conversation, rank, c.value, c.log_prob)
            for rank, c in enumerate(kept, start=1)
        ]
    return selected


def group_siblings(candidates: Iterable[Candidate]) -> list[list[Candidate]]:
    """The candidates of each pair whose value is finite, ordered by pair."""
    by_pair: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        if math.isfinite(candidate.value):
            by_pair.setdefault(candidate.conversation.pair.key, []).append(candidate)
    return [by_pair[pair] for pair in sorted(by_pair)]


def _log_probs(
    scores: Iterable[GoldLogProb], condition: Condition
) -> dict[tuple[str, str, int | None], GoldLogProb]:
    return {(*s.pair.key, s.sample): s for s in scores if s.condition == condition}
