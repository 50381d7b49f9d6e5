"""How far two Judges agree on the same comparisons: the share of equal verdicts, and Cohen's kappa
(Cohen 1960), which is what of it chance does not explain.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from stargate_assets.method.judging import Verdict
from stargate_assets.method.statistics import clustered_mean, clustered_share, share_estimate

BothVerdicts = tuple[Verdict, Verdict]
"""Of one comparison: the first Judge's and the other's."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """`agreement` is the share of comparisons with the same verdict, `kappa` is 0 at chance and 1
    if all verdicts are equal; both with intervals clustered by task and persona. `kappa` is None
    if both Judges say the same of everything, which chance explains.
    """

    agreement: float
    agreement_low: float
    agreement_high: float
    kappa: float | None
    kappa_low: float | None
    kappa_high: float | None


def judges_agree(verdicts: Mapping[tuple[str, str], Sequence[BothVerdicts]]) -> Agreement | None:
    """The agreement over pairs, given as (task_id, persona_id), each with one or more comparisons;
    values are averaged within a pair. None without any comparison.

    kappa = (p - c) / (1 - c), where p is the agreement and c what chance gives: the sum over the
    verdicts of the product of both Judges' shares. Its interval is that of the share p, with the
    variance that kappa has by the delta method: so it is clustered as other shares are, ends at 1,
    and has a width even if all verdicts are equal.
    """
    if not verdicts:
        return None

    def by_pair(value: Callable[[Verdict, Verdict], float]) -> dict[tuple[str, str], float]:
        return {pair: fmean(value(*both) for both in of_pair) for pair, of_pair in verdicts.items()}

    def shares(of: Callable[[Verdict, Verdict], Verdict]) -> dict[Verdict, float]:
        """How often a Judge gives each verdict."""
        found = {v: by_pair(lambda one, other, v=v: of(one, other) == v) for v in Verdict}
        return {verdict: fmean(by.values()) for verdict, by in found.items()}

    same = by_pair(lambda one, other: one == other)
    share = clustered_share(same)
    first, second = shares(lambda one, _: one), shares(lambda _, other: other)
    chance = sum(first[v] * second[v] for v in Verdict)
    found = (share.mean, share.low, share.high)
    if chance >= 1:
        return Agreement(*found, None, None, None)
    # d kappa = (dp - slope dc) / (1 - c), and what one comparison adds to c is linear in it.
    slope = (1 - share.mean) / (1 - chance)
    expected = by_pair(lambda one, other: second[one] + first[other] - 2 * chance)
    varied = clustered_mean({pair: same[pair] - slope * expected[pair] for pair in same})
    bounds = share_estimate(replace(varied, mean=share.mean))
    kappas = ((p - chance) / (1 - chance) for p in (share.mean, bounds.low, bounds.high))
    return Agreement(*found, *kappas)
