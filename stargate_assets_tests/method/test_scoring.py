import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.engines.scripted import KNOWN, UNKNOWN
from stargate_assets.method import scoring
from stargate_assets.method.conditions import TESTED, Condition
from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.scoring import GoldLogProb, other_conversations, score_gold_responses
from stargate_assets.method.simulation import Cell
from stargate_assets_tests.method.people import ScriptedModel, grid, talk

CELL = Cell(1, "test")
CONTROLS = (Condition.NEGATIVE_CONTROL, Condition.POSITIVE_CONTROL)


def conversations(pairs: list[Pair], samples: int = 2) -> list[Conversation]:
    return [
        talk((f"Which boat, {n} ?", f"{p.persona.text} Said {n} times."), of=p, sample=n)
        for p in pairs
        for n in range(samples)
    ]


def gold(of: list[Conversation]) -> dict[tuple[str, str], str]:
    return {c.pair.key: f"{c.pair.persona.name} : {c.pair.persona.text}" for c in of}


def scored(
    of: list[Conversation], model: ScriptedModel | None = None, cell: Cell = CELL
) -> list[GoldLogProb]:
    return score_gold_responses(
        model or ScriptedModel(), of, gold(of), cell, seed=0, prompts=SHIPPED
    )


def test_a_cell_that_is_scored_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    of, model = conversations(grid(2, 2)), ScriptedModel()
    whole = scored(of)
    monkeypatch.setattr(scoring, "TOGETHER", 7)
    assert scored(of, model) == whole
    assert [len(asked) for asked in model.scored] == [7, 7, 7, 3]  # 8 controls, 8 of each other


def test_a_pair_without_a_gold_response_is_not_scored_and_changes_nothing_else() -> None:
    of = conversations(grid(2, 3))
    missing = of[0].pair
    some = {key: text for key, text in gold(of).items() if key != missing.key}
    for cell in (CELL, Cell(0, "train_a")):
        every = score_gold_responses(ScriptedModel(), of, gold(of), cell, 0, SHIPPED)
        fewer = score_gold_responses(ScriptedModel(), of, some, cell, 0, SHIPPED)
        assert fewer == [s for s in every if s.pair != missing]


def test_each_pair_has_its_controls_and_each_conversation_its_two_conditions() -> None:
    keys = [(s.pair, s.condition, s.sample) for s in scored(conversations(grid(2, 3)))]
    expected = {
        (p, condition, sample)
        for p in grid(2, 3)
        for condition in TESTED
        for sample in ((None,) if condition in CONTROLS else (0, 1))
    }
    assert len(keys) == len(expected)
    assert set(keys) == expected


def test_controls_do_not_depend_on_the_conversations() -> None:
    """So the completion store has paid for them after an experiment's first cell."""
    few, many = conversations(grid(1, 2), samples=1), conversations(grid(1, 2), samples=3)
    of_few, of_many = ([s for s in scored(c) if s.condition in CONTROLS] for c in (few, many))
    assert of_few == of_many
    assert {(s.sample, s.heard_persona_id) for s in of_few} == {(None, None)}


def test_every_condition_scores_the_pair_s_own_gold_response_in_its_own_context() -> None:
    said = {(c.pair, c.sample): c for c in conversations(grid(2, 3))}
    heard = {(c.pair.task.task_id, c.pair.persona.persona_id, c.sample): c for c in said.values()}
    model = ScriptedModel()
    scores = scored(list(said.values()), model)
    (requests,) = model.scored
    for score, request in zip(scores, requests, strict=True):
        p = score.pair
        assert request.continuation == f"{p.persona.name} : {p.persona.text}"
        assert not request.end_of_turn
        if score.condition is Condition.NEGATIVE_CONTROL:
            expected = [SHIPPED.negative_control_messages(p)]
        elif score.condition is Condition.POSITIVE_CONTROL:
            expected = [SHIPPED.positive_control_messages(p)]
        else:
            key = p.task.task_id, score.heard_persona_id
            expected = [SHIPPED.respondent_messages(heard[*key, n], p) for n in (0, 1)]
            if score.condition is Condition.EXPERIMENTAL:
                expected = [SHIPPED.respondent_messages(said[p, score.sample])]
        assert request.messages in expected


def test_q_random_hears_somebody_else_talk_about_the_same_task_under_the_user_s_name() -> None:
    people = {p.persona.persona_id: p.persona for p in grid(2, 3)}
    model = ScriptedModel()
    for score, request in zip(
        scored(conversations(grid(2, 3)), model), model.scored[0], strict=True
    ):
        if score.condition is Condition.RANDOM:
            assert score.heard_persona_id not in (None, score.pair.persona.persona_id)
            text = "\n".join(message.content for message in request.messages)
            other = people[score.heard_persona_id]
            assert text.startswith(f"My name is {score.pair.persona.name}. ")
            assert text.endswith(score.pair.task.text)
            assert other.text in text
            assert other.name not in text
            assert score.pair.persona.text not in text


def test_a_conversation_that_brings_out_the_persona_s_facts_scores_better() -> None:
    """Nats, summed over the tokens of the gold response alone."""
    scores = scored(conversations(grid(1, 2)))
    total = {c: [s.log_prob for s in scores if s.condition is c] for c in Condition}
    assert total[Condition.EXPERIMENTAL] == [8 * KNOWN + 2 * UNKNOWN] * 4
    assert min(total[Condition.EXPERIMENTAL]) > max(total[Condition.RANDOM])
    assert max(total[Condition.RANDOM]) > max(total[Condition.NEGATIVE_CONTROL])
    assert {s.tokens for s in scores} == {10}


def test_training_cells_score_what_selection_compares() -> None:
    eligible = conversations(grid(2, 3))
    babble = [
        talk(("Nice boat.", "What would you like to know?"), of=p, sample=9) for p in grid(2, 1)
    ]
    scores = scored([*eligible, *babble], cell=Cell(1, "train_b"))
    assert {s.condition for s in scores} == {Condition.EXPERIMENTAL}
    assert [(s.pair, s.sample) for s in scores] == [(c.pair, c.sample) for c in eligible]


def test_one_persona_alone_has_no_random_row() -> None:
    conditions = {s.condition for s in scored(conversations(grid(3, 1)))}
    assert conditions == {*CONTROLS, Condition.EXPERIMENTAL}
    assert other_conversations(conversations(grid(2, 1)), CELL, 0) == [None] * 4


@given(st.permutations(conversations(grid(2, 3))))
def test_who_is_heard_does_not_depend_on_the_order(shuffled: list[Conversation]) -> None:
    def heard(of: list[Conversation]) -> dict[tuple[Pair, int], Conversation | None]:
        others = other_conversations(of, CELL, 0)
        return {(c.pair, c.sample): other for c, other in zip(of, others, strict=True)}

    assert heard(shuffled) == heard(conversations(grid(2, 3)))


def test_who_is_heard_is_drawn_anew_in_each_cell_and_for_each_seed() -> None:
    of = conversations(grid(3, 4))
    drawn = [
        other_conversations(of, cell, seed)
        for cell, seed in ((CELL, 0), (CELL, 1), (Cell(2, "test"), 0), (Cell(1, "train_b"), 0))
    ]
    assert all(one != other for i, one in enumerate(drawn) for other in drawn[:i])


def test_everybody_else_is_heard_sooner_or_later() -> None:
    of = conversations(grid(1, 4), samples=20)
    heard = [other.pair.persona.name for other in other_conversations(of, CELL, 0)[:20] if other]
    assert set(heard) == {"Person1", "Person2", "Person3"}


def test_the_objective_gain_scores_the_task_alone_once_for_each_pair_with_an_eligible_one() -> None:
    of = conversations(grid(2, 2))
    babble = [talk(("Well.", "I own a boat."), of=of[0].pair, sample=n) for n in (0, 1)]
    cell = Cell(0, "train_a")
    rows = score_gold_responses(
        ScriptedModel(), babble + of[2:], gold(of), cell, 0, SHIPPED, "gain"
    )
    alone = [row.pair for row in rows if row.condition is Condition.NEGATIVE_CONTROL]
    assert alone == list(dict.fromkeys(c.pair for c in of[2:]))


def test_the_objective_contrast_scores_one_other_gold_response_after_each_conversation() -> None:
    of, model = conversations(grid(2, 3)), ScriptedModel()
    rows = score_gold_responses(model, of, gold(of), Cell(0, "train_a"), 0, SHIPPED, "contrast")
    asked = [
        (row, request)
        for row, request in zip(rows, model.scored[0], strict=True)
        if row.condition is Condition.CONTRAST
    ]
    assert [(row.pair, row.sample) for row, _ in asked] == [(c.pair, c.sample) for c in of]
    for row, request in asked:
        own, name = row.pair.persona.text, row.pair.persona.name
        assert request.messages[0] == SHIPPED.respondent_messages(of[0], row.pair)[0]
        assert request.continuation.startswith(name) and own not in request.continuation
    for one, other in zip(asked[::2], asked[1::2], strict=True):  # samples of a pair
        assert one[1].continuation == other[1].continuation


def test_the_controls_of_other_objectives_are_not_scored_where_nobody_asks_for_them() -> None:
    of = conversations(grid(1, 2))
    rows = score_gold_responses(ScriptedModel(), of, gold(of), Cell(0, "train_a"), 0, SHIPPED)
    assert {row.condition for row in rows} == {Condition.EXPERIMENTAL}
