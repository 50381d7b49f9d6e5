import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from stargate_assets.method import simulation
from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.language_model import ChatRequest, Completion, Sampling
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.roleplay import choose_replies, generate_replies
from stargate_assets.method.simulation import (
    Cell,
    conversation_seed,
    conversations_without_questions,
    simulate,
    turn_count,
)
from stargate_assets_tests.method.people import ScriptedModel, grid, pair, talk

A, B = Cell(0, "train_a"), Cell(1, "train_b")
SAMPLING = Sampling(max_tokens=32, temperature=0.9)


class Rambler(ScriptedModel):
    """Says as many words as it may, and is cut off there."""

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]:
        limits = [request.sampling.max_tokens for request in requests]
        return [Completion("so " * limit, "length", 1, limit) for limit in limits]


def simulated(
    pairs: Sequence[Pair],
    cell: Cell = A,
    *,
    samples: int = 3,
    seed: int = 0,
    model: ScriptedModel | None = None,
) -> list[Conversation]:
    model = model or ScriptedModel()
    return simulate(
        model,
        {"chooser": partial(choose_replies, model)},
        pairs,
        cell,
        seed=seed,
        samples=samples,
        max_turns=3,
        sampling=SAMPLING,
        prompts=SHIPPED,
    )


def test_conversations_come_in_the_order_of_pairs_and_samples() -> None:
    pairs = grid(2, 2)[::-1]
    expected = [(p, sample) for p in pairs for sample in range(3)]
    assert [(c.pair, c.sample) for c in simulated(pairs)] == expected


@pytest.mark.parametrize("together", [1, 3, 7])
def test_a_cell_that_is_simulated_in_parts_is_the_same(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, models = grid(2, 2), [ScriptedModel(), ScriptedModel()]
    whole = simulated(pairs, model=models[0])
    monkeypatch.setattr(simulation, "TOGETHER", together)
    assert simulated(pairs, model=models[1]) == whole
    most = max(len(asked) for asked in models[1].chats)
    assert most == max(3, together // 3 * 3) < len(models[0].chats[0])


def test_the_samples_of_a_pair_share_their_number_of_turns_and_not_their_words() -> None:
    for p in grid(3, 3):
        siblings = simulated([p], samples=6)
        assert {len(c.questions) for c in siblings} == {turn_count(0, A, p, 3)}
        assert len({c.questions for c in siblings}) > 1


def test_every_question_has_its_reply_and_nothing_is_asked_after_the_last_turn() -> None:
    for c in simulated(grid(3, 3)):
        assert len(c.questions) == len(c.answers) == len(c.truncated) >= 1


def test_a_turn_is_one_batch_of_the_conversations_that_still_talk() -> None:
    model, pairs = ScriptedModel(), grid(4, 4)
    replies = {"chooser": partial(choose_replies, ScriptedModel())}
    done = simulate(
        model, replies, pairs, A, seed=0, samples=2, max_turns=3, sampling=SAMPLING, prompts=SHIPPED
    )
    talking = [sum(len(c.questions) > turn for c in done) for turn in range(3)]
    assert [len(batch) for batch in model.chats] == talking
    assert talking[0] > talking[1] > talking[2] > 0


def test_the_questioner_is_asked_with_its_own_context_and_the_cell_s_sampling() -> None:
    model, p = ScriptedModel(), pair()
    replies = {"chooser": partial(choose_replies, ScriptedModel())}
    (done,) = simulate(
        model, replies, [p], A, seed=0, samples=1, max_turns=3, sampling=SAMPLING, prompts=SHIPPED
    )
    heard = talk(of=p)
    for (request,), question, answer in zip(model.chats, done.questions, done.answers, strict=True):
        assert request.messages == SHIPPED.questioner_messages(heard)
        assert request.sampling == SAMPLING
        heard = heard.with_question(question, truncated=False).with_answer(answer)


def test_a_question_that_ran_into_the_limit_is_marked() -> None:
    replies = {"chooser": partial(choose_replies, ScriptedModel())}
    (done,) = simulate(
        Rambler(),
        replies,
        [pair()],
        A,
        seed=0,
        samples=1,
        max_turns=1,
        sampling=SAMPLING,
        prompts=SHIPPED,
    )
    assert done.truncated == (True,)


class Filtered(ScriptedModel):
    """A content filter lets nothing of a persona's second turn through."""

    def chat(self, requests: Sequence[ChatRequest], doing: str) -> list[Completion]:
        refused = Completion("", "refused", 0, 0)
        return [
            refused if len(request.messages) > 2 else said
            for request, said in zip(requests, super().chat(requests, doing), strict=True)
        ]


@pytest.mark.parametrize("refusing", ["questioner", "roleplayer"])
def test_a_refused_turn_ends_a_conversation_and_leaves_no_text(refusing: str) -> None:
    pairs, filtered, other = grid(4, 4), Filtered(), ScriptedModel()
    questioner, roleplayer = (filtered, other) if refusing == "questioner" else (other, filtered)
    replies = {"speaker": partial(generate_replies, roleplayer, SAMPLING, SHIPPED)}
    done = simulate(
        questioner,
        replies,
        pairs,
        A,
        seed=0,
        samples=1,
        max_turns=3,
        sampling=SAMPLING,
        prompts=SHIPPED,
    )
    for c in done:
        turns = turn_count(0, A, c.pair, 3)
        assert c.refused is (turns > 1)
        assert len(c.questions) == len(c.answers) == len(c.truncated) == min(turns, 2)
        if c.refused:
            assert c.answers[-1] == ""
            assert (c.questions[-1] == "") is (refusing == "questioner")
    assert any(c.refused for c in done)


def test_a_conversation_does_not_depend_on_which_others_are_simulated() -> None:
    """Nor on their order, nor on how many samples there are."""
    pairs = grid(3, 3)
    everything = {(c.pair, c.sample): c for c in simulated(pairs)}
    shuffled = random.Random(0).sample(pairs, 4)
    for c in simulated(shuffled, samples=2):
        assert c == everything[c.pair, c.sample]


def test_each_conversation_draws_a_roleplayer_and_keeps_it() -> None:
    heard: dict[str, list[tuple[Pair, int]]] = {"one": [], "two": []}

    def reply(name: str, conversations: Sequence[Conversation], seeds: Sequence[int]) -> list[str]:
        heard[name] += [(c.pair, c.sample) for c in conversations]
        return [f"I am {name}." for _ in conversations]

    replies = {name: partial(reply, name) for name in heard}
    done = simulate(
        ScriptedModel(),
        replies,
        grid(5, 5),
        A,
        seed=0,
        samples=4,
        max_turns=3,
        sampling=SAMPLING,
        prompts=SHIPPED,
    )
    drawn = Counter(c.roleplayer for c in done)
    assert drawn["one"] == pytest.approx(50, abs=20)
    for c in done:
        assert set(c.answers) == {f"I am {c.roleplayer}."}
        assert heard[c.roleplayer].count((c.pair, c.sample)) == len(c.questions)
    # Whoever is named first, and however many pairs there are, the draw is the same.
    reordered = dict(reversed(replies.items()))
    again = simulate(
        ScriptedModel(), reordered, grid(5, 5)[3:9], A, seed=0, samples=4, max_turns=3,
        sampling=SAMPLING, prompts=SHIPPED)  # fmt: skip
    of = {(c.pair, c.sample): c.roleplayer for c in done}
    assert all(c.roleplayer == of[c.pair, c.sample] for c in again)


def test_turn_counts_are_uniform_from_one_to_the_most() -> None:
    counts = [turn_count(0, A, p, 3) for p in grid(30, 30)]
    assert set(counts) == {1, 2, 3}
    assert all(counts.count(turns) == pytest.approx(300, abs=60) for turns in (1, 2, 3))


def test_fault_9_splits_differ_in_their_turn_counts() -> None:
    pairs = grid(5, 5)
    splits = A, Cell(0, "train_b")
    of_a, of_b = ([turn_count(0, cell, p, 3) for p in pairs] for cell in splits)
    assert of_a != of_b


@pytest.mark.parametrize(
    "other",
    [
        (1, "question", A, talk(), 0),
        (0, "answer", A, talk(), 0),
        (0, "question", Cell(0, "train_b"), talk(), 0),
        (0, "question", Cell(1, "train_a"), talk(), 0),
        (0, "question", A, talk(of=pair(task="Where should I go?")), 0),
        (0, "question", A, talk(of=pair(name="Zoe")), 0),
        (0, "question", A, talk(sample=1), 0),
        (0, "question", A, talk(), 1),
    ],
    ids=["seed", "purpose", "split", "iteration", "task", "persona", "sample", "turn"],
)
def test_fault_9_a_seed_changes_with_every_part_of_its_key(other) -> None:
    assert conversation_seed(*other) != conversation_seed(0, "question", A, talk(), 0)


def test_fault_9_a_seed_is_a_function_of_the_key_and_not_of_what_was_said() -> None:
    talked = talk(("Who?", "Ada."))
    assert conversation_seed(0, "answer", A, talked) == conversation_seed(0, "answer", A, talk())


def test_fault_9_no_two_completions_of_two_cells_share_a_seed() -> None:
    seeds: list[int] = []
    for cell in (A, Cell(0, "train_b"), B):
        model = ScriptedModel()
        simulate(
            model,
            {"speaker": partial(generate_replies, model, SAMPLING, SHIPPED)},
            grid(3, 3),
            cell,
            seed=0,
            samples=3,
            max_turns=3,
            sampling=SAMPLING,
            prompts=SHIPPED,
        )
        seeds += [request.seed for batch in model.chats for request in batch]
    assert len(seeds) == len(set(seeds)) > 2 * 3 * 27


def test_a_cell_is_named_without_commas() -> None:
    """Dagster reads a comma in a partition key as two keys."""
    assert B.key == "1|train_b"


def test_conversations_without_a_question_are_made_for_the_kinds_of_task_that_are_named() -> None:
    general = replace(pair(), task=replace(pair().task, kind="general"))
    pairs = [general, pair("Which boat?")]
    assert [c.pair for c in conversations_without_questions(pairs, 4, "general")] == [general]
    assert [(c.pair, c.sample) for c in conversations_without_questions(pairs, 4, "all")] == [
        (p, 4) for p in pairs
    ]
    assert conversations_without_questions(pairs, 4, "never") == []
