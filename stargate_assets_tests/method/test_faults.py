"""Where the authors' code goes wrong in its evaluation, and ours must not: faults 3, 5, 6 and 7."""

import numpy as np
import pytest

from stargate_assets.method.arms import Arm, Reference, respond
from stargate_assets.method.conversation import Conversation
from stargate_assets.method.examples import training_dialogues
from stargate_assets.method.judging import Comparison, Judgement, compare_with_references, judge
from stargate_assets.method.language_model import Message, Sampling
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.regularization import RegularizationResponse
from stargate_assets.method.simulation import Cell
from stargate_assets.method.statistics import clustered_share, two_way_clustered, wilson
from stargate_assets.method.win_rates import WORTH, Judged, WinRate, win_rate
from stargate_assets_tests.method.people import (
    Answerer,
    ScriptedModel,
    WorthJudge,
    answer_worth,
    grid,
    talk,
)

SAMPLING = Sampling(99)
PAIRS = grid(5, 4)
DULL = [talk(("What else?", "Nothing."), of=pair) for pair in PAIRS]
TELLING = [talk(("What else?", "A fact."), of=pair) for pair in PAIRS]


# Fault 3: the base model answered under another prompt than the policies, so that most of the
# published win rate is how they answer and not what they ask.


def test_fault_3_all_arms_answer_under_the_prompt_that_is_trained() -> None:
    base, policy = ScriptedModel(), ScriptedModel()
    for cell in (Cell(0, "test"), Cell(1, "test")):
        talked = {0: DULL, cell.iteration: TELLING if cell.iteration else DULL}
        answerers = {0: base, cell.iteration: policy if cell.iteration else base}
        respond(answerers, talked, PAIRS, cell, seed=0, sampling=SAMPLING, prompts=SHIPPED)
    of_reference, of_policy = base.chats[0][: len(PAIRS)], policy.chats[0][: len(PAIRS)]
    assert [r.messages for r in of_reference] == [SHIPPED.respondent_messages(c) for c in DULL]
    assert [r.messages for r in of_policy] == [SHIPPED.respondent_messages(c) for c in TELLING]
    answered = [RegularizationResponse(c, "Then.", truncated=False) for c in TELLING]
    trained = {d.messages for d in training_dialogues(TELLING, answered, SHIPPED)}
    for request in of_policy:
        assert (*request.messages, Message("assistant", "Then.")) in trained


def win_rates(
    policy: Answerer, base: Answerer, asked: list[Conversation]
) -> dict[tuple[Reference, Arm], float | None]:
    """Of a policy that holds the conversations `asked`; the base model's are dull."""
    of_base = respond(
        {0: base}, {0: DULL}, PAIRS, Cell(0, "test"), seed=0, sampling=SAMPLING, prompts=SHIPPED
    )
    responses = respond(
        {0: base, 1: policy},
        {0: DULL, 1: asked},
        PAIRS,
        Cell(1, "test"),
        seed=0,
        sampling=SAMPLING,
        prompts=SHIPPED,
    )
    found: dict[tuple[Reference, Arm], list[Comparison]] = {}
    for response, reference, comparison in compare_with_references(responses, of_base, 1):
        found.setdefault((reference, response.arm), []).append(comparison)
    return {
        key: rated(
            compared, judge(WorthJudge(), "choice", compared, SAMPLING, prompts=SHIPPED)
        ).win_rate
        for key, compared in found.items()
    }


def rated(comparisons: list[Comparison], judgements: list[Judgement]) -> WinRate:
    return win_rate(
        [Judged(c.pair.key, j, 1, 1) for c, j in zip(comparisons, judgements, strict=True)]
    )


def test_fault_3_a_gain_in_answering_is_told_from_a_gain_in_asking() -> None:
    answers_better = win_rates(Answerer(skill=1), Answerer(), DULL)
    of_base, of_asking = Reference.BASE, (Reference.BASE_ASKS, Arm.METHOD)
    assert answers_better[of_base, Arm.METHOD] == answers_better[of_base, Arm.BASE_ASKS] == 1
    assert answers_better[of_base, Arm.BASE_ANSWERS] == answers_better[of_asking] == 0.5
    asks_better = win_rates(Answerer(hearing=1), Answerer(hearing=1), TELLING)
    assert asks_better[of_base, Arm.METHOD] == asks_better[of_base, Arm.BASE_ANSWERS] == 1
    assert asks_better[of_asking] == 1
    assert asks_better[of_base, Arm.BASE_ASKS] == asks_better[of_base, Arm.NO_QUESTIONS] == 0.5


# Fault 5: standard errors over rows that repeat the same tasks and personas.


@pytest.mark.parametrize("axis", ["tasks", "personas"])
def test_fault_5_rows_that_repeat_a_task_or_a_persona_are_no_fresh_evidence(axis: str) -> None:
    """All variance lies between six clusters of fifty equal rows each."""
    won = np.repeat([[0.0, 1.0, 0.0, 1.0, 1.0, 0.0]], 50, axis=0)
    won = won if axis == "personas" else won.T
    values = {(f"t{t}", f"p{p}"): float(value) for (t, p), value in np.ndenumerate(won)}
    naive_low, naive_high = wilson(0.5, won.size)
    for estimate in (two_way_clustered(values), clustered_share(values)):
        assert estimate.high - estimate.low > 6 * (naive_high - naive_low)


TRUTH = 0.7


def effects(rng: np.random.Generator, tasks: int, personas: int, shared: float = 0.6) -> np.ndarray:
    """Scores of pairs with mean 0 and variance 1, of which tasks and personas have `shared`."""
    of_task, of_persona = rng.normal(size=(tasks, 1)), rng.normal(size=(1, personas))
    own = rng.normal(size=(tasks, personas))
    return np.sqrt(shared / 2) * (of_task + of_persona) + np.sqrt(1 - shared) * own


def test_fault_5_intervals_at_95_percent_cover_the_truth_95_times_in_100() -> None:
    """400 data sets of the paper's size, 50 tasks and 10 personas; -0.5244 is the 30 % quantile of
    the normal distribution.
    """
    rng = np.random.default_rng(5)
    covered = {"mean": 0, "share": 0, "naive": 0}
    for _ in range(400):
        scores = effects(rng, 50, 10)
        keys = [(f"t{t}", f"p{p}") for t, p in np.ndindex(scores.shape)]
        of_mean = two_way_clustered(dict(zip(keys, scores.ravel(), strict=True)))
        won = (scores > -0.5244).ravel()
        of_share = clustered_share(dict(zip(keys, map(float, won), strict=True)))
        naive_low, naive_high = wilson(float(won.mean()), won.size)
        covered["mean"] += of_mean.low <= 0 <= of_mean.high
        covered["share"] += of_share.low <= TRUTH <= of_share.high
        covered["naive"] += naive_low <= TRUTH <= naive_high
    assert 0.93 <= covered["mean"] / 400 <= 0.97
    assert 0.93 <= covered["share"] / 400 <= 0.97
    assert covered["naive"] / 400 < 0.7


# Fault 6: the judge preferred a place, and one order was used.


def planted(seed: int, tasks: int, personas: int) -> list[Comparison]:
    """The response is better on TRUTH of the pairs, by an amount uniform in (0, 1)."""
    rng = np.random.default_rng(seed)
    better = effects(rng, tasks, personas, shared=0.1) > -0.5244
    amounts = np.where(better, 1, -1) * rng.uniform(size=better.shape)
    return [
        Comparison(pair, answer_worth(amount), answer_worth(0))
        for pair, amount in zip(grid(tasks, personas), amounts.ravel(), strict=True)
    ]


def test_fault_6_both_orders_find_the_planted_truth_and_the_planted_bias() -> None:
    """A bias of 0.4 turns 40 % of the amounts, so the Judge says what stands first in 70 of 100:
    20 points too many. With one order it would find 0.70 + 0.4 * 0.30 = 0.82.
    """
    comparisons = planted(seed=1, tasks=50, personas=10)
    judgements = judge(WorthJudge(for_first=0.4), "choice", comparisons, SAMPLING, prompts=SHIPPED)
    found = rated(comparisons, judgements)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= TRUTH <= found.high
    assert found.position_bias == pytest.approx(0.20, abs=0.03)
    one_order = clustered_share(
        {
            c.pair.key: WORTH[j.first]
            for c, j in zip(comparisons, judgements, strict=True)
            if j.first
        }
    )
    assert one_order.low > TRUTH


def test_fault_6_a_judge_that_reads_nothing_wins_and_loses_nothing() -> None:
    comparisons = planted(seed=1, tasks=5, personas=4)
    judgements = judge(WorthJudge(for_first=9), "written", comparisons, SAMPLING, prompts=SHIPPED)
    found = rated(comparisons, judgements)
    assert (found.ties, found.win_rate) == (20, 0.5)
    assert (found.order_consistency, found.position_bias) == (0, 0.5)


def test_fault_6_a_policy_against_itself_wins_half_the_time() -> None:
    """100 seeds; the same policy answers on both sides, and a task or a persona may suit an answer
    of it; the Judge prefers what stands first.
    """
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        one, other = (effects(rng, 10, 8).ravel() for _ in range(2))
        comparisons = [
            Comparison(pair, answer_worth(a), answer_worth(b))
            for pair, a, b in zip(grid(10, 8), one, other, strict=True)
        ]
        found = rated(
            comparisons, judge(WorthJudge(0.4), "choice", comparisons, SAMPLING, prompts=SHIPPED)
        )
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.5 <= found.high
    assert 91 <= covered <= 99


# Fault 7: verdicts that could not be read were dropped from the denominator in silence.


class Mumbling(WorthJudge):
    """Gives no verdict on every fourth persona, however often it is asked."""

    def chat(self, requests, doing):
        clear = super().chat(requests, doing)
        return [
            type(c)("Hm.", "stop", 1, 1) if "boat 3" in r.messages[0].content else c
            for r, c in zip(requests, clear, strict=True)
        ]


def test_fault_7_what_cannot_be_read_is_counted_beside_the_win_rate() -> None:
    comparisons = [Comparison(p, answer_worth(1), answer_worth(0)) for p in PAIRS]
    comparisons[0] = Comparison(PAIRS[0], None, answer_worth(0))
    found = rated(comparisons, judge(Mumbling(), "written", comparisons, SAMPLING, prompts=SHIPPED))
    assert (found.pairs, found.unscored, found.wins) == (20, 6, 14)
    assert found.win_rate == 1.0
