"""What an experiment changes of the method reaches its tables and what is trained on."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import polars as pl
import pytest

from stargate_assets.cli.driver import run_experiment
from stargate_assets.config.experiment import Selection
from stargate_assets.definitions.project import Project
from stargate_assets.method.conditions import Condition
from stargate_assets.method.conversation import Conversation
from stargate_assets.method.language_model import Completion, FinishReason, Message
from stargate_assets.method.prompts import questioner_messages, respondent_messages
from stargate_assets.method.simulation import Cell, unasked_conversations
from stargate_assets.pipeline.assets.iteration import best_of
from stargate_assets.pipeline.assets.rows import table_rows
from stargate_assets.pipeline.assets.training import learnt_of, training_dialogues
from stargate_assets_tests.method.people import pair, talk

CELL = Cell(0, "train_a")
KEY = ["task_id", "persona_id", "sample"]
ASKED = talk(("Where do you live?", "By the sea."))
UNASKED = Conversation(pair(), 4)


def responses(*conversations: Conversation, text: str = "Try soup.") -> pl.DataFrame:
    return table_rows(
        "regularization_responses",
        [
            dict(zip(KEY, (*c.pair.key, c.sample), strict=True))
            | {"iteration": 0, "split": "train_a", "text": text, "truncated": False}
            for c in conversations
        ],
    )


def test_without_responses_only_the_questions_are_learnt() -> None:
    (dialogue,) = training_dialogues([ASKED], responses())
    assert (dialogue.kind, dialogue.messages) == ("question", questioner_messages(ASKED)[:-1])


@pytest.mark.parametrize(
    ("text", "finish_reason", "learnt"),
    [
        ("Eat rice. It is cheap.", "stop", ("Eat rice. It is cheap.", False)),
        ("Eat rice. Do you like it?", "stop", (None, False)),
        ("Do you like it? Eat rice.", "stop", ("Do you like it? Eat rice.", False)),
        ("Eat rice. It is che", "length", ("Eat rice.", False)),
        ("Do you like it? Eat ri", "length", (None, False)),
        ("Eat rice and so on", "length", (None, False)),
        ("", "refused", (None, False)),
    ],
)
def test_of_answers_alone_only_what_answers_is_learnt(
    text: str, finish_reason: FinishReason, learnt: tuple[str | None, bool]
) -> None:
    answer = Completion(text, finish_reason, 1, 1)
    assert learnt_of(answer, only_answers=True) == learnt
    assert learnt_of(answer, only_answers=False) == (text, finish_reason == "length")


def test_with_the_authors_masking_the_last_reply_is_in_the_dialogue() -> None:
    (dialogue,) = training_dialogues([ASKED], responses(), "assistant_and_last_reply")
    assert dialogue.kind == "question_and_reply"
    assert "By the sea." in dialogue.messages[-1].content


def test_where_nothing_was_asked_the_policy_learns_to_answer_when_told_to_ask() -> None:
    dialogues = training_dialogues([UNASKED], responses(UNASKED))
    answer = Message("assistant", "Try soup.")
    assert [(d.kind, d.messages) for d in dialogues] == [
        ("answer", (*respondent_messages(UNASKED), answer)),
        ("answer", (*questioner_messages(UNASKED), answer)),
    ]


def test_conversations_without_a_question_are_made_for_the_kinds_of_task_that_are_named() -> None:
    general = replace(pair(), task=replace(pair().task, kind="general"))
    pairs = [general, pair("Which boat?")]
    assert [c.pair for c in unasked_conversations(pairs, 4, "general")] == [general]
    assert [(c.pair, c.sample) for c in unasked_conversations(pairs, 4, "all")] == [
        (p, 4) for p in pairs
    ]
    assert unasked_conversations(pairs, 4, "never") == []


def scores(condition: Condition, values: dict[int | None, float]) -> pl.DataFrame:
    return table_rows(
        "gold_log_probs",
        [
            dict(zip(KEY, ("t", "p", sample), strict=True))
            | {"iteration": 0, "split": "train_a", "condition": condition}
            | {"heard_persona_id": None, "log_prob": value, "tokens": 10}
            for sample, value in values.items()
        ],
    )


OWN = scores(Condition.EXPERIMENTAL, {0: -20.0, 1: -18.0, 2: -19.0})
OTHERS = scores(Condition.CONTRAST, {0: -30.0, 1: -19.0, 2: -20.0})
ALONE = scores(Condition.NEGATIVE_CONTROL, {None: -19.5})


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        (Selection(), [(1, -18.0)]),
        (Selection(top=2), [(1, -18.0), (2, -19.0)]),
        (Selection(objective="mean"), [(1, -1.8)]),
        (Selection(objective="gain", margin=0, top=3), [(1, 1.5), (2, 0.5)]),
        (Selection(objective="contrast"), [(0, 10.0)]),
        (Selection(word_cost=1.0), [(2, -20.0)]),
        (Selection(question_cost=2.5), [(1, -20.5)]),
        (Selection(margin=2), []),
    ],
)
def test_what_a_conversation_is_worth(stated: Selection, kept: list[tuple[int, float]]) -> None:
    questions = {0: ["One?", "Two?"], 1: ["This one is long?"], 2: ["Short?"]}
    scored = OWN.with_columns(
        questions=pl.Series([questions[sample] for sample in OWN["sample"]]),
        ineligibility=pl.lit(None, pl.String),
    )
    best = best_of(CELL, stated, scored, pl.concat([OWN, OTHERS, ALONE]))
    assert best.select("sample", "value").rows() == kept
    of = dict(OWN.select("sample", "log_prob").iter_rows())
    assert best["log_prob"].to_list() == [of[sample] for sample, _ in kept]


def test_all_of_it_in_one_loop(scripted_project: Callable[..., Project]) -> None:
    speaker = {"name": "tester", "model": {"engine": "scripted", "model": "tester"}}
    project = scripted_project(
        iterations=1,
        simulation={"samples": 4, "max_turns": 2, "unasked": "all"},
        selection={"objective": "contrast", "question_cost": 0.5, "top": 2},
        regularization={"response": "gold"},
        evaluation={"samples": 2, "roleplayers": [speaker]},
    )
    run_experiment(project, "loop", None, print)

    def rows(name: str, schema: str = "loop") -> pl.DataFrame:
        return project.warehouse.query(f'from "{schema}".{name}')

    talked = rows("conversations")
    training, test = talked.filter(split="train_a"), talked.filter(split="test")
    unasked = training.filter(pl.col("questions").list.len() == 0)
    pairs = training.select("task_id", "persona_id").n_unique()
    assert (training.height, unasked.height) == (5 * pairs, pairs)
    assert set(test["roleplayer"]) == {"tester"} and "tester" not in set(training["roleplayer"])
    conditions = rows("gold_log_probs").filter(split="train_a")["condition"].value_counts()
    assert len(set(conditions["count"])) == 1 and conditions.height == 2
    learnt = rows("regularization_responses").join(
        rows("gold_responses", "mini"), on=["split", "task_id", "persona_id"]
    )
    assert learnt.height == rows("best_conversations").height
    assert (learnt["text"] == learnt["text_right"]).all()
    for _, of_pair in rows("best_conversations").sort("rank").group_by("task_id", "persona_id"):
        assert all(a >= b for a, b in pairwise(of_pair["value"]))
