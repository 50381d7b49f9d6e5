import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.judging import Judgement, Unscored, Verdict
from stargate_assets.method.statistics import wilson
from stargate_assets.method.win_rates import Judged, win_rate

WIN, LOSS, TIE = Verdict.WIN, Verdict.LOSS, Verdict.TIE


def rows(*judgements: Judgement, words: int = 5, reference_words: int = 5) -> list[Judged]:
    return [
        Judged((f"t{i % 4}", f"p{i // 4}"), judgement, words, reference_words)
        for i, judgement in enumerate(judgements)
    ]


def verdicts(*given_: Verdict) -> list[Judged]:
    return rows(*(Judgement(verdict) for verdict in given_))


def test_ties_are_half_a_win() -> None:
    found = win_rate(verdicts(WIN, WIN, TIE, LOSS))
    assert (found.wins, found.ties, found.losses, found.unscored) == (2, 1, 1, 0)
    assert found.win_rate == 0.625


def test_several_judgements_of_a_pair_are_averaged() -> None:
    judgements = (("a", WIN), ("a", LOSS), ("b", WIN), ("c", WIN))
    found = win_rate([Judged((p, p), Judgement(verdict), 1, 1) for p, verdict in judgements])
    assert (found.pairs, found.wins, found.losses) == (4, 3, 1)
    assert found.win_rate == pytest.approx(2.5 / 3)
    assert (found.naive_low, found.naive_high) == pytest.approx(wilson(2.5 / 3, 3))


def test_the_naive_interval_is_wilson_s() -> None:
    found = win_rate(verdicts(*[WIN] * 5, *[LOSS] * 5))
    assert (found.naive_low, found.naive_high) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_without_any_verdict_there_is_no_win_rate() -> None:
    found = win_rate(rows(Judgement(unscored=Unscored.REFUSED)))
    assert (found.pairs, found.unscored) == (1, 1)
    assert (found.win_rate, found.low, found.naive_high, found.longer_wins) == (None,) * 4


def test_bias_for_a_place_and_agreement_of_orders() -> None:
    found = win_rate(
        rows(
            Judgement(WIN, first=WIN, second=WIN),
            Judgement(TIE, first=WIN, second=LOSS),
            Judgement(TIE, first=WIN, second=LOSS),
            Judgement(unscored=Unscored.UNPARSED, first=WIN),
        )
    )
    assert found.order_consistency == pytest.approx(1 / 3)
    assert found.position_bias == pytest.approx(6 / 7 - 0.5)  # only one of seven was for the second


def test_longer_texts_are_looked_for_among_decided_pairs_of_unequal_length() -> None:
    longer = rows(Judgement(WIN), Judgement(WIN), Judgement(LOSS), Judgement(TIE), words=9)
    equal = rows(Judgement(WIN))
    assert win_rate([*longer, *equal]).longer_wins == pytest.approx(2 / 3)
    assert win_rate(equal).longer_wins is None


JUDGEMENTS = st.lists(
    st.builds(
        Judgement,
        verdict=st.sampled_from(Verdict),
        first=st.sampled_from([None, WIN, LOSS]),
        second=st.sampled_from([None, WIN, LOSS]),
    )
    | st.builds(Judgement, unscored=st.sampled_from(Unscored)),
    min_size=1,
)


@given(JUDGEMENTS)
def test_every_pair_is_counted_and_every_share_is_one(judgements: list[Judgement]) -> None:
    found = win_rate(rows(*judgements))
    assert found.pairs == found.wins + found.losses + found.ties + found.unscored
    for share in (found.win_rate, found.low, found.high, found.order_consistency):
        assert share is None or 0 <= share <= 1
    assert found.position_bias is None or -0.5 <= found.position_bias <= 0.5
