"""A gold response that is one of its task's options."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.engines.scripted import KNOWN, UNKNOWN
from stargate_assets.method.conditions import CONTROLS, TESTED, Condition
from stargate_assets.method.headroom import near_copies
from stargate_assets.method.multiple_choice import normalise_choice
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.scoring import GoldLogProb, score_gold_responses
from stargate_assets.method.selection import find_candidates
from stargate_assets.method.simulation import Cell
from stargate_assets_tests.method.people import ScriptedModel, grid, pair, talk
from stargate_assets_tests.method.test_too_long import LONG, Cramped

OPTIONS = ("soup", "bread", "rye cake")
ADA = pair(persona="I like bread .", options=OPTIONS)
BO = pair(name="Bo", persona="I like soup .", options=OPTIONS)
TALKS = [
    talk(("What do you like?", "I like bread ."), of=ADA),
    talk(("What then?", "Nothing ."), of=ADA, sample=1),
    talk(("What do you like?", "I like soup ."), of=BO),
]
GOLD = {ADA.key: "bread", BO.key: "soup"}
HEARD = KNOWN - math.log(math.exp(KNOWN) + math.exp(UNKNOWN) + math.exp(2 * UNKNOWN))
UNHEARD = UNKNOWN - math.log(2 * math.exp(UNKNOWN) + math.exp(2 * UNKNOWN))


def scored(split: str, objective: str = "sum", model: ScriptedModel | None = None):
    model, cell = model or ScriptedModel(), Cell(0, split)
    return score_gold_responses(model, TALKS, GOLD, cell, 0, SHIPPED, objective)


def of(scores: list[GoldLogProb], condition: Condition, sample: int | None) -> GoldLogProb:
    return next(
        s for s in scores if s.pair == ADA and (s.condition, s.sample) == (condition, sample)
    )


def test_an_option_is_chosen_where_the_conversation_makes_it_the_most_probable() -> None:
    """Ada's are one word that was heard or not, another word, and two other words."""
    scores = scored("test")
    heard, unheard = (of(scores, Condition.EXPERIMENTAL, sample) for sample in (0, 1))
    assert (heard.log_prob, heard.tokens, heard.chosen) == (KNOWN, 1, True)
    assert heard.choice_log_prob == pytest.approx(HEARD)
    assert (unheard.log_prob, unheard.chosen) == (UNKNOWN, False)  # as probable as soup
    assert unheard.choice_log_prob == pytest.approx(UNHEARD)
    assert of(scores, Condition.POSITIVE_CONTROL, None).chosen
    assert not of(scores, Condition.NEGATIVE_CONTROL, None).chosen
    assert not of(scores, Condition.RANDOM, 0).chosen  # Bo spoke of soup
    assert {s.condition for s in scores} == set(TESTED)


def test_options_change_nothing_else_of_a_score() -> None:
    plain = [(s.condition, s.sample, s.log_prob, s.tokens) for s in scored("test")]
    without = [
        talk(
            *zip(c.questions, c.answers, strict=True),
            of=pair(name=c.pair.persona.name, persona=c.pair.persona.text),
            sample=c.sample,
        )
        for c in TALKS
    ]
    scores = score_gold_responses(ScriptedModel(), without, GOLD, Cell(0, "test"), 0, SHIPPED)
    assert plain == [(s.condition, s.sample, s.log_prob, s.tokens) for s in scores]
    assert {(s.choice_log_prob, s.chosen) for s in scores} == {(None, None)}


@pytest.mark.parametrize(("objective", "asked"), [("sum", 3), ("contrast", 6), ("choice", 9)])
def test_training_cells_score_options_where_the_objective_needs_them(
    objective: str, asked: int
) -> None:
    model = ScriptedModel()
    scores = scored("train_a", objective, model)
    assert [len(requests) for requests in model.scored] == [asked]
    chosen = {s.choice_log_prob is not None for s in scores}
    assert chosen == {objective == "choice"}
    assert not {s.condition for s in scores} & set(CONTROLS)


def test_the_objective_information_scores_everybody_s_gold_responses_for_the_task() -> None:
    """After each conversation and once a pair before any, under the name of the pair's person."""
    people = grid(1, 3)
    talked = [talk(("Which boat?", p.persona.text), of=p, sample=n) for p in people for n in (0, 1)]
    gold = {p.key: f"{p.persona.name} , {p.persona.text}" for p in people}
    gold[people[2].key] = gold[people[1].key].replace("Person1", "Person2")  # the same advice
    model, cell = ScriptedModel(), Cell(0, "train_a")
    scores = score_gold_responses(model, talked, gold, cell, 0, SHIPPED, "information")
    assert Counter((s.pair, s.condition) for s in scores) == {
        (p, condition): times
        for p in people
        for condition, times in ((Condition.EXPERIMENTAL, 2), (Condition.NEGATIVE_CONTROL, 1))
    }
    (requests,) = model.scored
    names = [request.continuation.split()[0] for request in requests]
    assert len(requests) == 9 * 2  # whoever has the same advice is told apart by nothing
    assert Counter(names) == {p.persona.name: 6 for p in people}
    assert all(s.choice_log_prob is not None for s in scores)


def test_with_two_people_information_ranks_as_contrast_does() -> None:
    """log q = log sigmoid of the difference that contrast takes; it knows the prior too."""
    people = grid(1, 2)
    said = ("I own boat 0.", "I own boat 1.", "No.", "I like colour 0. I own boat 0.")
    talked = [talk(("Who?", text), of=people[0], sample=n) for n, text in enumerate(said)]
    talked += [talk(("Who?", "No."), of=people[1])]
    gold = {p.key: f"{p.persona.name} , {p.persona.text}" for p in people}

    def values(objective: str) -> list[float]:
        cell = Cell(0, "train_a")
        scores = score_gold_responses(ScriptedModel(), talked, gold, cell, 0, SHIPPED, objective)
        found = find_candidates(talked, scores, objective=objective, question_cost=0, word_cost=0)
        return [c.value for c in found if c.conversation.pair == people[0]]

    contrast, informed = values("contrast"), values("information")
    assert len(set(contrast)) >= 3
    before = -math.log(2)  # the task says nothing of either
    assert informed == pytest.approx([-math.log1p(math.exp(-d)) - before for d in contrast])


def test_an_option_that_is_too_long_leaves_the_gold_response_without_a_choice() -> None:
    of_long = pair(options=("bread", LONG))
    scores = score_gold_responses(
        Cramped(), [talk(("So?", "Yes."), of=of_long)], {of_long.key: "bread"}, Cell(0, "test"), 0,
        SHIPPED,
    )  # fmt: skip
    assert len(scores) == 3 and {s.choice_log_prob for s in scores} == {None}


@given(st.lists(st.floats(-500, 0), min_size=2, max_size=6))
def test_the_probabilities_of_a_choice_sum_to_one(log_probs: list[float]) -> None:
    choice = normalise_choice(log_probs)
    assert sum(map(math.exp, choice.log_probs)) == pytest.approx(1)
    assert max(choice.log_probs) <= 0
    assert sum(map(choice.chooses, range(len(log_probs)))) <= 1


def test_two_people_with_the_same_option_are_no_copies() -> None:
    same = {ADA.key: "rye cake", BO.key: "rye cake"}
    assert near_copies([ADA, BO], same) == []
    plain = [pair(), pair(name="Bo")]
    assert len(near_copies(plain, {p.key: "rye cake" for p in plain})) == 1
