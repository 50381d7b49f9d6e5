import pytest
from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.method.conversation import Conversation, Pair, Persona
from stargate_assets.method.heard import statements, without
from stargate_assets.method.language_model import Sampling
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.roleplay import (
    MOST_STATEMENTS,
    NOTHING_TO_SAY,
    WAITING,
    choose_replies,
    generate_replies,
)
from stargate_assets.method.roleplayer_audit import audit_reply
from stargate_assets.method.text import sentences
from stargate_assets_tests.method.people import ScriptedModel, pair, talk

COOK = "I bake bread at night. I bake cakes for money. I sail at night. I keep bees."
VOCABULARY = ("bake", "night", "sail", "keep", "cakes", "money", "I", "zebra")
QUESTIONS = st.lists(st.sampled_from(VOCABULARY), max_size=5).map(lambda w: " ".join(w) + " ?")


def asked(*questions: str, persona: str = COOK) -> Conversation:
    """The conversation after the last question, each earlier one answered by choosing."""
    conversation = talk(of=pair(persona=persona))
    for question in questions[:-1]:
        conversation = conversation.with_question(question, truncated=False)
        conversation = conversation.with_answer(reply(conversation))
    return conversation.with_question(questions[-1], truncated=False)


def reply(conversation: Conversation) -> str:
    return choose_replies(ScriptedModel(), [conversation], [0])[0]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("When do you sail ?", "I sail at night."),
        ("Do I bake bread or cakes ?", "I bake bread at night. I bake cakes for money."),
        ("Do you like zebras ?", NOTHING_TO_SAY),
    ],
)
def test_it_says_the_statements_that_the_question_makes_more_probable(
    question: str, expected: str
) -> None:
    assert reply(asked(question)) == expected


@given(st.lists(QUESTIONS, min_size=1, max_size=5))
def test_it_says_at_most_two_statements_at_once_and_none_twice(questions: list[str]) -> None:
    final = asked(*questions)
    final = final.with_answer(reply(final))
    told = [[s for s in sentences(a) if a != NOTHING_TO_SAY] for a in final.answers]
    assert all(len(statements) <= MOST_STATEMENTS for statements in told)
    flat = [statement for statements in told for statement in statements]
    assert len(flat) == len(set(flat))
    assert set(flat) <= set(sentences(COOK))


def test_it_runs_out_of_things_to_say() -> None:
    assert reply(asked("bake ?", "bake ?")) == NOTHING_TO_SAY


@pytest.mark.parametrize("babble", ["I bake bread at night.", "bake night", ""])
def test_it_answers_nothing_but_questions(babble: str) -> None:
    assert reply(asked(babble)) == WAITING


def test_ties_are_said_in_alphabetical_order_whatever_the_persona_s_order() -> None:
    tied = ["I grow figs.", "I grow kale.", "I grow beans."]
    for persona in (" ".join(tied), " ".join(reversed(tied))):
        assert reply(asked("What do you grow ?", persona=persona)) == "I grow beans. I grow figs."


@given(st.lists(QUESTIONS, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_a_chosen_reply_does_not_depend_on_its_batch_mates(questions: list[str], random) -> None:
    batch = [asked(q) for q in questions] + [asked("No question."), asked("bake ?", "bake ?")]
    random.shuffle(batch)
    alone = [reply(conversation) for conversation in batch]
    assert choose_replies(ScriptedModel(), batch, range(len(batch))) == alone


def test_a_generated_reply_is_the_model_s_with_the_roleplayer_s_context_and_seed() -> None:
    model, sampling = ScriptedModel(), Sampling(max_tokens=64, temperature=0.7)
    conversations = [asked("Where ?"), asked("Who ?", "Why ?")]
    replies = generate_replies(model, sampling, SHIPPED, conversations, [3, 4])
    (requests,) = model.chats
    assert [r.messages for r in requests] == [SHIPPED.roleplayer_messages(c) for c in conversations]
    assert [(r.sampling, r.seed) for r in requests] == [(sampling, 3), (sampling, 4)]
    assert replies == [completion.text for completion in model.chat(requests, "again")]


LISTED = Persona("p", "Ada", "bakes. At night\nloves Bo", ("bakes. At night", "loves Bo"))


def test_statements_of_a_list_are_chosen_whole() -> None:
    conversation = Conversation(Pair(pair().task, LISTED), 0)
    said: set[str] = set()
    for _ in range(2):
        conversation = conversation.with_question("Who bakes at night and loves Bo?", False)
        [reply] = choose_replies(ScriptedModel(), [conversation], [0])
        conversation = conversation.with_answer(reply)
        said |= {statement.text for statement in statements(conversation)}
    assert said <= {"bakes. At night.", "loves Bo."}
    assert said


def test_heard_statements_and_the_audit_take_a_list_s_statements_whole() -> None:
    conversation = (
        Conversation(Pair(pair().task, LISTED), 0)
        .with_question("What do you do?", False)
        .with_answer("bakes. At night. loves Bo.")
    )
    assert [s.text for s in statements(conversation)] == ["bakes. At night.", "loves Bo."]
    rest = without(conversation, statements(conversation)[0])
    assert rest.answers == ("loves Bo.",)
    assert audit_reply(conversation, 0, None).faults == ()  # two statements, not three sentences
