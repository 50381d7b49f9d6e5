import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stargate_assets.config.experiment import Selection
from stargate_assets.method.conditions import Condition
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.objectives import OBJECTIVES, Objective, Scored
from stargate_assets.method.scoring import GoldLogProb, gold_contexts
from stargate_assets.method.selection import (
    Candidate,
    Selected,
    select_best,
    select_conversations,
)
from stargate_assets.method.simulation import Cell
from stargate_assets_tests.method.people import pair, talk


def candidate(sample: int, value: float, key: tuple[str, str] = ("a", "x")) -> Candidate:
    task, persona = key
    of = Pair(Task(task, "What?"), Persona(persona, "Ana", "I bake."))
    return Candidate(Conversation(of, sample), value, value)


CANDIDATES = st.lists(
    st.builds(
        candidate,
        key=st.tuples(st.sampled_from("ab"), st.sampled_from("xy")),
        sample=st.integers(0, 9),
        value=st.floats(-9, 0).map(round) | st.sampled_from([math.nan, math.inf, -math.inf]),
    ),
    unique_by=lambda c: (pair_of(c), c.conversation.sample),
    max_size=24,
)
TOPS = st.integers(1, 4)


def pair_of(c: Candidate | Selected) -> tuple[str, str]:
    return c.conversation.pair.key


def ranked(candidates: list[Candidate], *arguments, **options) -> list[tuple[int, Candidate]]:
    return [
        (s.rank, Candidate(s.conversation, s.value, s.log_prob))
        for s in select_best(candidates, *arguments, **options)
    ]


def samples(*arguments, **options) -> list[int]:
    return [s.conversation.sample for s in select_best(*arguments, **options)]


@given(CANDIDATES, TOPS, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(candidates, top, random) -> None:
    shuffled = random.sample(candidates, len(candidates))
    assert select_best(shuffled, top) == select_best(candidates, top)


def test_the_most_probable_gold_responses_win_best_first() -> None:
    candidates = [candidate(0, -3.0), candidate(1, -1.0), candidate(2, -2.0)]
    assert ranked(candidates, 2) == [(1, candidates[1]), (2, candidates[2])]


def test_ties_go_to_the_lower_sample() -> None:
    tied = [candidate(sample, -1.0) for sample in (7, 2, 5)]
    assert samples(tied, 3) == [2, 5, 7]


@pytest.mark.parametrize("winner_of_an_argmax", [candidate(0, math.nan), candidate(0, math.inf)])
def test_fault_8_what_is_not_finite_never_wins(winner_of_an_argmax: Candidate) -> None:
    assert ranked([winner_of_an_argmax, candidate(1, -400.0)], 1) == [(1, candidate(1, -400.0))]
    assert select_best([winner_of_an_argmax], 1) == []


@given(CANDIDATES, TOPS)
def test_fault_8_whoever_is_not_selected_is_not_finite_or_outranked(candidates, top) -> None:
    selected = [c for _, c in ranked(candidates, top)]
    places = Counter(map(pair_of, selected))
    for c in candidates:
        better = [s for s in selected if pair_of(s) == pair_of(c) and s.value >= c.value]
        fit = math.isfinite(c.value)
        assert (c in selected) or not fit or len(better) == top
        assert not (c in selected and not fit)
    assert all(count <= top for count in places.values())


@given(CANDIDATES, TOPS)
def test_ranks_count_from_one_within_each_pair_in_the_order_of_pairs(candidates, top) -> None:
    best = ranked(candidates, top)
    by_pair: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for rank, c in best:
        by_pair.setdefault(pair_of(c), []).append((rank, -c.value))
    assert [pair_of(c) for _, c in best] == sorted(pair_of(c) for _, c in best)
    for places in by_pair.values():
        assert [rank for rank, _ in places] == list(range(1, len(places) + 1))
        assert places == sorted(places)


@given(CANDIDATES, TOPS)
def test_a_pair_s_winners_do_not_depend_on_other_pairs(candidates, top) -> None:
    everything = ranked(candidates, top)
    alone = ranked([c for c in candidates if pair_of(c) == ("a", "x")], top)
    assert alone == [found for found in everything if pair_of(found[1]) == ("a", "x")]


def test_a_worse_sibling_changes_nothing() -> None:
    best = candidate(4, -1.0)
    assert ranked([best, candidate(5, -1.5)], 1) == [(1, best)]


@pytest.mark.parametrize(
    ("objective", "compared_with", "cost", "value"),
    [
        ("sum", 0.0, 0.0, -30.0),
        ("mean", 0.0, 0.0, -3.0),
        ("gain", -32.0, 0.0, 2.0),
        ("contrast", -25.0, 0.0, -5.0),
        ("choice", -25.0, 0.0, -0.5),
        ("choice", 0.0, 0.25, -0.75),
        ("information", -25.0, 0.25, 0.75),
        ("sum", 0.0, 1.5, -31.5),
        ("mean", 0.0, 5.0, -3.5),
    ],
)
def test_values_of_the_objectives(
    objective: str, compared_with: float, cost: float, value: float
) -> None:
    assert OBJECTIVES[objective].value(Scored(-30.0, 10, compared_with, cost, -0.5, -1.5)) == value


def test_a_margin_is_from_the_mean_of_the_pair_or_from_zero() -> None:
    candidates = [candidate(0, -3.0), candidate(1, -1.0), candidate(2, -2.0)]  # their mean is -2
    assert samples(candidates, 3, 0.0) == [1, 2]
    assert samples(candidates, 3, 0.5) == [1]
    assert select_best(candidates, 3, 1.5) == []
    assert select_best(candidates, 3, 0.0, absolute=True) == []
    assert samples(candidates, 3, -1.0, absolute=True) == [1]


def test_an_only_child_is_its_pair_s_mean() -> None:
    assert ranked([candidate(0, -9.0)], 1, 0.0) == [(1, candidate(0, -9.0))]


@given(CANDIDATES, TOPS, st.floats(-5, 5))
def test_a_margin_only_leaves_out(candidates, top, margin) -> None:
    assert set(ranked(candidates, top, margin)) <= set(ranked(candidates, top))


ASKED = {0: ("One?", "Two?"), 1: ("This one is long?",), 2: ("Short?",)}
TALKS = [
    talk(*((question, "Yes.") for question in questions), sample=sample)
    for sample, questions in ASKED.items()
]
PLAIN = {"top": 1, "margin": None, "question_cost": 0.0, "word_cost": 0.0}


def scores(condition: Condition, values: dict[int | None, float]) -> list[GoldLogProb]:
    return [GoldLogProb(pair(), condition, s, None, value, 10) for s, value in values.items()]


SCORES = [
    *scores(Condition.EXPERIMENTAL, {0: -20.0, 1: -18.0, 2: -19.0}),
    *scores(Condition.CONTRAST, {0: -30.0, 1: -19.0, 2: -20.0}),
    *scores(Condition.NEGATIVE_CONTROL, {None: -19.5}),
]


@pytest.mark.parametrize(
    ("objective", "stated", "kept"),
    [
        ("sum", {}, [(1, -18.0)]),
        ("sum", {"top": 2}, [(1, -18.0), (2, -19.0)]),
        ("mean", {}, [(1, -1.8)]),
        ("gain", {"margin": 0, "top": 3}, [(1, 1.5), (2, 0.5)]),
        ("contrast", {}, [(0, 10.0)]),
        ("sum", {"word_cost": 1.0}, [(2, -20.0)]),
        ("sum", {"question_cost": 2.5}, [(1, -20.5)]),
        ("sum", {"margin": 2}, []),
    ],
)
def test_what_a_conversation_is_worth(
    objective: str, stated: dict[str, float], kept: list[tuple[int, float]]
) -> None:
    selected = select_conversations(TALKS, SCORES, objective=objective, **(PLAIN | stated))
    assert [(s.conversation.sample, s.value) for s in selected] == kept
    log_probs = {s.sample: s.log_prob for s in SCORES if s.condition == Condition.EXPERIMENTAL}
    assert [s.log_prob for s in selected] == [log_probs[sample] for sample, _ in kept]


def test_the_objective_choice_ranks_by_the_log_probability_among_the_options() -> None:
    """Not by that of the text alone; a conversation without a choice is no candidate."""
    chosen = {0: -0.5, 1: -1.5, 2: None}
    own = [
        replace(s, choice_log_prob=chosen[s.sample])
        for s in SCORES
        if s.condition is Condition.EXPERIMENTAL and s.sample is not None
    ]
    selected = select_conversations(
        TALKS, own, objective="choice", top=3, margin=None, question_cost=0, word_cost=0
    )
    found = [(s.conversation.sample, s.value, s.log_prob) for s in selected]
    assert found == [(0, -0.5, -20.0), (1, -1.5, -18.0)]


def test_the_objective_information_is_what_the_conversation_adds_to_the_task() -> None:
    chosen: dict[tuple[Condition, int | None], float | None] = {
        (Condition.EXPERIMENTAL, 0): -0.25,
        (Condition.EXPERIMENTAL, 1): -2.0,
        (Condition.NEGATIVE_CONTROL, None): -1.5,
    }
    own = [replace(s, choice_log_prob=chosen.get((s.condition, s.sample))) for s in SCORES]
    for before, kept in ((own, [(0, 1.25)]), (own[:-1], []), ([*own[:-1], SCORES[-1]], [])):
        selected = select_conversations(
            TALKS, before, objective="information", top=3, margin=0, question_cost=0, word_cost=0
        )
        assert [(s.conversation.sample, s.value) for s in selected] == kept


def test_what_is_ineligible_or_was_not_scored_is_not_selected() -> None:
    babble = talk(("Here is a plan.", "Yes."), sample=3)
    own = [*SCORES, *scores(Condition.EXPERIMENTAL, {3: -1.0})]
    unscored = talk(("And you?", "Yes."), sample=4)
    selected = select_conversations([babble, unscored, *TALKS], own, objective="sum", **PLAIN)
    assert [s.conversation.sample for s in selected] == [1]


def test_an_objective_is_a_function_and_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def ratio(scored: Scored) -> float:
        return scored.compared_with / scored.log_prob

    entry = Objective("how many times as improbable", ratio, Condition.CONTRAST)
    monkeypatch.setitem(OBJECTIVES, "ratio", entry)
    selected = select_conversations(TALKS, SCORES, objective="ratio", **PLAIN)
    assert [(s.conversation.sample, s.value) for s in selected] == [(0, 1.5)]
    others = {talked.pair.key: "You bake." for talked in TALKS} | {pair(name="Bo").key: "You sail."}
    asked = [*TALKS, talk(("Where?", "Here."), of=pair(name="Bo"))]
    contexts = gold_contexts(asked, others, Cell(0, "train_a"), 0, "ratio")
    assert sum(context.condition == Condition.CONTRAST for context in contexts) == len(asked)
    stated = Selection.model_validate({"objective": "ratio"})
    assert stated.objective == "ratio"


def test_an_unknown_objective_is_refused_by_name() -> None:
    with pytest.raises(ValidationError, match="no 'ratio'; there are: sum, mean, gain, "):
        Selection.model_validate({"objective": "ratio"})
