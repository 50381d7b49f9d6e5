from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stargate_assets.method.conversation import Conversation
from stargate_assets.method.examples import (
    IGNORED,
    Dialogue,
    Example,
    tokenise,
    training_dialogues,
)
from stargate_assets.method.language_model import Message
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.regularization import RegularizationResponse
from stargate_assets_tests.chat_templates import FAMILIES, chat_tokenizer, special_id
from stargate_assets_tests.method.people import pair, talk

USER, ASSISTANT = (
    st.text(f"{letters} \n.?é日", min_size=1, max_size=12) for letters in ("XYZ", "abc")
)
SYSTEM = st.lists(USER.map(lambda text: Message("system", text)), max_size=1)
TURNS = st.lists(
    st.tuples(USER, ASSISTANT).map(lambda t: [Message("user", t[0]), Message("assistant", t[1])]),
    min_size=1,
    max_size=3,
)
DIALOGUES = st.builds(
    lambda system, turns: Dialogue("question", (*system, *[m for turn in turns for m in turn])),
    SYSTEM,
    TURNS,
)  # fmt: skip
QUESTIONS = Dialogue(
    "question",
    SHIPPED.questioner_messages(
        talk(
            ("What do you do?", "I bake."),
            ("Who is at home?", "My sister."),
            ("Which food do you avoid?", "Peanuts."),
        )
    )[:-1],
)


def learnt(example: Example) -> list[tuple[int, tuple[int, ...]]]:
    """(start, tokens) of each stretch that carries loss."""
    spans: list[tuple[int, tuple[int, ...]]] = []
    for carries, group in groupby(range(len(example.labels)), lambda i: example.labels[i] >= 0):
        if carries:
            positions = list(group)
            spans.append((positions[0], tuple(example.tokens[i] for i in positions)))
    return spans


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=40)
@given(dialogue=DIALOGUES)
def test_fault_2_loss_is_on_each_assistant_turn_and_its_end_and_on_no_user_token(
    family: str, dialogue: Dialogue
) -> None:
    tokenizer = chat_tokenizer(family)
    end = special_id(family, FAMILIES[family].end_of_turn)
    spans = [span for e in tokenise(dialogue, tokenizer) for _, span in learnt(e)]
    form = tokenizer.form
    said = [form.before + form.strip(m.content) for m in dialogue.messages if m.role == "assistant"]
    assert [span[-1] for span in spans] == [end] * len(said)
    assert [tokenizer.tokenizer.decode(span[:-1]) for span in spans] == said
    unsaid = "".join(tokenizer.decode(span) for span in spans)
    assert not set(unsaid) & set("XYZ")


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=40)
@given(dialogue=DIALOGUES)
def test_what_is_trained_is_what_is_sampled(family: str, dialogue: Dialogue) -> None:
    """Before each turn that carries loss stand exactly the tokens that the engine would see."""
    tokenizer = chat_tokenizer(family)
    contexts = [
        tokenizer.prompt_ids(dialogue.messages[:position])
        for position, message in enumerate(dialogue.messages)
        if message.role == "assistant"
    ]
    examples = tokenise(dialogue, tokenizer)
    assert [e.tokens[:start] for e in examples for start, _ in learnt(e)] == contexts
    for e in examples:
        assert len(e.labels) == len(e.tokens)
        assert all(label in (IGNORED, t) for label, t in zip(e.labels, e.tokens, strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_questions_share_one_example_unless_the_template_rewrites_earlier_turns(
    family: str,
) -> None:
    examples = tokenise(QUESTIONS, chat_tokenizer(family))
    spans = [len(learnt(e)) for e in examples]
    assert spans == ([3] if FAMILIES[family].appends else [1, 1, 1])


def test_the_answer_is_learnt_alone_in_the_respondent_s_context() -> None:
    """The dialogue's questions are context there: they were asked under another prompt."""
    conversation = talk(("What do you do?", "I bake."))
    context = SHIPPED.respondent_messages(conversation)
    answer = Message("assistant", "Bake bread.")
    tokenizer = chat_tokenizer("chatml")
    examples = tokenise(Dialogue("answer", (*context, answer)), tokenizer)
    learnt_text = [tokenizer.decode(span) for e in examples for _, span in learnt(e)]
    assert learnt_text == ["Bake bread."]
    assert {e.kind for e in examples} == {"answer"}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_authors_faulty_masking_adds_the_last_reply_and_nothing_else(family: str) -> None:
    tokenizer = chat_tokenizer(family)
    reply = Message("user", "I love zebras.")
    proper = tokenise(QUESTIONS, tokenizer)
    faulty = tokenise(Dialogue("question_and_reply", (*QUESTIONS.messages, reply)), tokenizer)
    assert [learnt(e) for e in faulty[:-1]] == [learnt(e) for e in proper[:-1]]
    *spans, (start, tail) = learnt(faulty[-1])
    text = tokenizer.tokenizer.decode(tail)
    assert "zebras" in text and "Peanuts" not in text
    if len(proper) == 1:  # else the template rewrites, and the last question has an example alone
        said = [token for _, span in learnt(proper[0]) for token in span]
        assert [t for _, span in [*spans, (start, tail)] for t in span][: len(said)] == said


ASKED = talk(("Where do you live?", "By the sea."))
UNASKED = Conversation(pair(), 4)
SOUP = "Try soup."


def test_without_responses_only_the_questions_are_learnt() -> None:
    (dialogue,) = training_dialogues([ASKED], [], SHIPPED)
    assert (dialogue.kind, dialogue.messages) == (
        "question",
        SHIPPED.questioner_messages(ASKED)[:-1],
    )


@pytest.mark.parametrize(("text", "truncated"), [("", False), (SOUP, True)])
def test_an_answer_that_is_empty_or_cut_off_is_not_learnt(text: str, truncated: bool) -> None:
    response = RegularizationResponse(ASKED, text, truncated)
    assert [d.kind for d in training_dialogues([ASKED], [response], SHIPPED)] == ["question"]


def test_with_the_authors_masking_the_last_reply_is_in_the_dialogue() -> None:
    (dialogue,) = training_dialogues([ASKED], [], SHIPPED, "assistant_and_last_reply")
    assert dialogue.kind == "question_and_reply"
    assert "By the sea." in dialogue.messages[-1].content


def test_where_nothing_was_asked_the_policy_learns_to_answer_when_told_to_ask() -> None:
    dialogues = training_dialogues(
        [UNASKED], [RegularizationResponse(UNASKED, SOUP, False)], SHIPPED
    )
    answer = Message("assistant", SOUP)
    assert [(d.kind, d.messages) for d in dialogues] == [
        ("answer", (*SHIPPED.respondent_messages(UNASKED), answer)),
        ("answer", (*SHIPPED.questioner_messages(UNASKED), answer)),
    ]
