"""External evaluations: what policies of known worth score, and how records are read."""

import math
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.conversation import Conversation
from stargate_assets.method.evaluations import EVALUATIONS, in3, mediq
from stargate_assets.method.evaluations.evaluate import evaluate
from stargate_assets.method.evaluations.kind import Asked, Item, ItemError, Outcome
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    LanguageModel,
    Sampling,
    Score,
    ScoreRequest,
)
from stargate_assets.method.multiple_choice import normalise_choice
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.simulation import Cell
from stargate_assets.method.statistics import clustered_mean, clustered_ratio, ratio_difference
from stargate_assets_tests.method.people import ScriptedModel
from stargate_assets_tests.method.records import CLEAR, PATIENTS, TASKS, VAGUE

Say = Callable[[str, int], str]
"""What a policy says to a task in a turn, from 0."""
FIRST_INQUIRIES = {
    str(task["task"]): [str(detail["inquiry"]) for detail in details]
    for task in TASKS
    if isinstance(details := task["missing_details"], list)
}


class Policy(ScriptedModel):
    """Says what it is told to say, by task and turn."""

    def __init__(self, say: Say) -> None:
        super().__init__()
        self.say = say

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]:
        return [Completion(self._text(request), "stop", 9, 9) for request in requests]

    def _text(self, request: ChatRequest) -> str:
        said = "\n".join(message.content for message in request.messages)
        task = next(task for task in FIRST_INQUIRIES if task in said)
        return self.say(task, sum(m.role == "assistant" for m in request.messages))


def ask_for_what_is_missing(task: str, turn: int) -> str:
    """A question for each detail; where nothing is missing, an answer."""
    inquiries = FIRST_INQUIRIES[task]
    return inquiries[turn] if turn < len(inquiries) else "Here it is."


def never_ask(task: str, turn: int) -> str:
    del task, turn
    return "Here it is."


def always_ask(task: str, turn: int) -> str:
    del task, turn
    return "Is it warm outside?"


def tell(items: Sequence[Item]) -> Callable[..., list[str]]:
    """A user who tells the detail that a question is about, and nothing else."""
    by_inquiry = {
        inquiry: detail.option
        for item in items
        for inquiry, detail in zip(
            FIRST_INQUIRIES.get(item.pair.task.text, []), item.details, strict=True
        )
    }

    def reply(conversations: Sequence[Conversation], seeds: Sequence[int]) -> list[str]:
        del seeds
        return [by_inquiry.get(c.questions[-1], "I do not know.") for c in conversations]

    return reply


def run_in3(say: Say) -> list[Outcome]:
    items = [in3.read_item(record) for record in TASKS]
    most = max(len(item.details) for item in items)
    return evaluate(in3.KIND, items, {"user": tell(items)}, most, asked(Policy(say)))


def asked(policy: LanguageModel) -> Asked:
    return Asked(Cell(0, "in3"), policy, ScriptedModel(), SHIPPED, Sampling(16), seed=0)


def figures(kind: str, outcomes: Sequence[Outcome]) -> dict[str, float | None]:
    found = {f.label: f.estimate(outcomes) for f in EVALUATIONS[kind].figures}
    return {label: estimate and estimate.mean for label, estimate in found.items()}


VAGUE_SHARE = len(VAGUE) / len(TASKS)


@pytest.mark.parametrize(
    ("say", "recall", "precision", "details"),
    [
        (ask_for_what_is_missing, 1.0, 1.0, 1.0),
        (never_ask, 0.0, None, 0.0),
        (always_ask, 1.0, VAGUE_SHARE, 0.0),
    ],
)
def test_a_policy_of_known_worth_has_the_figures_that_it_must_have(
    say: Say, recall: float, precision: float | None, details: float
) -> None:
    assert figures("in3", run_in3(say)) == pytest.approx(
        {
            "recall, told to ask: asks where vague": recall,
            "precision, told to ask: vague where it asks": precision,
            "recall, task alone: asks where vague": recall,
            "precision, task alone: vague where it asks": precision,
            "precision of chance: vague tasks": VAGUE_SHARE,
            "missing details named by questions": details,
            "missing details told in reply": details,
        }
    )


def test_details_count_by_their_importance() -> None:
    """Of the trip's details, of importance 3 and 1, the first inquiry asks for the first."""
    outcomes = run_in3(lambda task, turn: (FIRST_INQUIRIES[task] or ["Done."])[0])
    trip = next(o for o in outcomes if "trip" in o.item.pair.task.text)
    assert trip.values["asked"] == trip.values["told"] == 0.75


def test_a_clear_task_has_one_turn_and_a_vague_one_all() -> None:
    turns = {o.item.pair.task.text: len(o.conversation.questions) for o in run_in3(always_ask)}
    assert turns == {str(r["task"]): 2 if r["vague"] else 1 for r in TASKS}


def test_what_is_told_without_a_question_is_nobodys_merit() -> None:
    items = [in3.read_item(record) for record in VAGUE]
    options = " ".join(detail.option for item in items for detail in item.details)
    replies = {"user": lambda conversations, seeds: [options] * len(conversations)}
    found = evaluate(in3.KIND, items, replies, 2, asked(Policy(never_ask)))
    assert {o.values["told"] for o in found} == {0.0}
    found = evaluate(in3.KIND, items, replies, 2, asked(Policy(always_ask)))
    assert {(o.values["told"], o.values["asked"]) for o in found} == {(1.0, 0.0)}


def test_the_user_of_a_task_is_always_the_same_and_knows_a_sentence_for_each_detail() -> None:
    item = in3.read_item(VAGUE[0])
    assert item == in3.read_item(dict(VAGUE[0]))
    assert [d.option in d.options for d in item.details] == [True, True]
    told = [f"{d.description}: {d.option.rstrip('.')}." for d in item.details]
    assert item.pair.persona.text == " ".join(told)
    assert in3.read_item(CLEAR[0]).pair.persona.text == ""


@pytest.mark.parametrize(
    ("kind", "record", "said"),
    [
        ("in3", {}, "task has no text"),
        ("in3", {"task": "Go."}, "vague is neither true nor false"),
        ("in3", {"task": "Go.", "vague": True}, "missing_details is no list"),
        ("in3", {"task": "Go.", "vague": True, "missing_details": []}, "do not agree"),
        ("in3", {"task": "Go.", "vague": True, "missing_details": ["where"]}, "is no object"),
        (
            "in3",
            {"task": "Go.", "vague": True, "missing_details": [{"options": [], "importance": 1}]},
            "importance of 1, 2 or 3, and options",
        ),
        ("mediq", {}, "options and answer_idx do not agree"),
        ("mediq", {**PATIENTS[0], "facts": []}, "facts has none"),
        ("mediq", {**PATIENTS[0], "question": " "}, "question has no text"),
    ],
)
def test_a_record_that_is_none_is_refused_by_what_it_lacks(
    kind: str, record: Mapping[str, object], said: str
) -> None:
    with pytest.raises(ItemError, match=said):
        EVALUATIONS[kind].read(record)


class Reader(ScriptedModel):
    """Finds the right option probable where the fact that decides it was read."""

    def score(self, requests: Sequence[ScoreRequest], doing: str) -> list[Score]:
        return [Score((self._log_prob(request),), 9) for request in requests]

    def _log_prob(self, request: ScoreRequest) -> float:
        read = " ".join(message.content for message in request.messages)
        decided = next(p for p in PATIENTS if str(p["question"]) in read)
        right = request.continuation == decided["answer"]
        return -1.0 if right == (str(decided["decisive"]) in read) else -2.0


@pytest.mark.parametrize(("reply", "after", "won"), [("The", 1.0, 1.0), ("No.", 0.0, 0.0)])
def test_headroom_is_what_questions_win_of_what_all_facts_would(
    reply: str, after: float, won: float
) -> None:
    items = [mediq.read_item(record) for record in PATIENTS]
    known = {item.item_id: item.pair.persona.text for item in items}

    def tell_all(conversations: Sequence[Conversation], seeds: Sequence[int]) -> list[str]:
        del seeds
        return [known[c.pair.task.task_id] if reply == "The" else reply for c in conversations]

    asking = Policy(always_ask)
    asking.chat = lambda requests, doing: [  # pyright: ignore[reportAttributeAccessIssue]
        Completion("Where does it hurt?", "stop", 9, 9) for _ in requests
    ]
    told = Asked(Cell(0, "mediq"), asking, Reader(), SHIPPED, Sampling(16), seed=0)
    found = figures("mediq", evaluate(mediq.KIND, items, {"user": tell_all}, 1, told))
    assert found["accuracy before any question"] == 0.0
    assert found["accuracy after the policy's questions"] == after
    assert found["accuracy with all facts"] == 1.0
    assert found["headroom won, of accuracy"] == won
    assert found["headroom won, of log p"] == pytest.approx(won)
    surest = -math.log1p(math.exp(-1.0) * (len(items[0].options) - 1))
    assert found["log p(right option) with all facts, nats"] == pytest.approx(surest)


def test_headroom_that_may_be_none_is_not_divided_by() -> None:
    """All facts help one patient as much as they harm the other."""
    items = [mediq.read_item(record) for record in PATIENTS]
    talks = [Conversation(item.pair, 0) for item in items]
    values = {"right_before": 0.0, "right_after": 1.0, "right_all": 1.0}
    harmed = {"right_before": 1.0, "right_after": 1.0, "right_all": 0.0}
    helped = [Outcome(i, c, values) for i, c in zip(items, talks, strict=True)]
    assert figures("mediq", helped)["headroom won, of accuracy"] == 1.0
    mixed = [helped[0], Outcome(items[1], talks[1], harmed)]
    assert figures("mediq", mixed)["headroom won, of accuracy"] is None


def test_a_patient_is_read_as_the_publishers_read_one() -> None:
    item = mediq.read_item(PATIENTS[0])
    assert item.pair.task.text == (
        "A sailor has a swollen knee. What is the best next step?\nA. Rest\nB. Surgery"
    )
    assert item.pair.persona.text == "The knee was twisted yesterday. The skin is not hot."
    assert item.options[item.right] == PATIENTS[0]["answer"]


@given(st.lists(st.floats(-500, 0), min_size=1, max_size=6), st.floats(-100, 100))
def test_a_choice_is_a_distribution_that_a_constant_does_not_change(
    log_probs: list[float], constant: float
) -> None:
    choice = normalise_choice(log_probs)
    assert sum(map(math.exp, choice.log_probs)) == pytest.approx(1)
    shifted = normalise_choice([p + constant for p in log_probs])
    assert shifted.log_probs == pytest.approx(choice.log_probs, abs=1e-9)


Sums = dict[tuple[str, str], float]
VALUES = st.dictionaries(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from("xyz")), st.floats(-1, 1), min_size=2
)


@given(VALUES)
def test_a_ratio_to_the_number_of_items_is_their_mean(values: Sums) -> None:
    ratio, mean = clustered_ratio(values, dict.fromkeys(values, 1.0)), clustered_mean(values)
    assert ratio is not None
    assert (ratio.mean, ratio.degrees, ratio.pairs) == (
        pytest.approx(mean.mean),
        mean.degrees,
        mean.pairs,
    )
    assert ratio.variance == pytest.approx(mean.variance, abs=1e-9)


@given(VALUES)
def test_a_ratio_differs_from_itself_by_nothing(values: Sums) -> None:
    sums = values, dict.fromkeys(values, 2.0)
    difference = ratio_difference(sums, sums)
    assert difference is not None
    assert (difference.mean, difference.variance) == (0, 0)
    assert ratio_difference(sums, ({}, {})) is None
    assert clustered_ratio(values, dict.fromkeys(values, 0.0)) is None
