import re
from itertools import takewhile

import pytest

from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.language_model import Message
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.templates import (
    TEMPLATES,
    for_named_first_person,
    render,
    shipped_text,
)
from stargate_assets_tests.method.people import BAKER, pair, talk

TASK = "What should I cook?"
TALK = talk(("Where do you eat?", "At my sister's."), ("What do you avoid?", "Only peanuts."))
UNANSWERED = TALK.with_question("How much can you spend?", truncated=False)
HOSTILE = "{{ 7*7 }} {% raw %} {# x #} <b>R&D</b> {{ task }} %"


def text_of(messages: tuple[Message, ...]) -> str:
    return "\n".join(message.content for message in messages)


def roles_of(messages: tuple[Message, ...]) -> str:
    return "".join(message.role[0] for message in messages)


@pytest.mark.parametrize(
    "clause",
    [
        r"\bone short, open question",
        r"at most three sentences",
        r"background or preferences",
        r"something new each time",
        r"do not answer the request",
        r"do not test what the user knows",
        r"no side remarks",
        r"no quotation marks",
    ],
)
def test_the_elicitation_prompt_states_every_rule(clause: str) -> None:
    system = SHIPPED.questioner_messages(TALK)[0]
    assert system.role == "system"
    assert re.search(clause, system.content, re.IGNORECASE)


def test_the_questioner_sees_name_task_and_dialogue_and_is_asked_to_ask() -> None:
    messages = SHIPPED.questioner_messages(TALK)
    assert roles_of(messages) == "suauau"
    assert messages[1].content.startswith(f"My name is Ada. {TASK}")
    assert [m.content for m in messages if m.role == "assistant"] == list(TALK.questions)
    users = [m.content for m in messages if m.role == "user"]
    assert users[1].startswith("At my sister's.")
    assert all(user.endswith("What would you like to know about me?") for user in users)


def test_the_questioner_never_sees_what_the_persona_did_not_say() -> None:
    messages = SHIPPED.questioner_messages(TALK)
    assert not any(sentence in text_of(messages) for sentence in BAKER.split(". "))
    stranger = talk(*zip(TALK.questions, TALK.answers, strict=True), of=pair(persona="Another."))
    assert SHIPPED.questioner_messages(stranger) == messages


@pytest.mark.parametrize(
    "rule",
    [
        r"skilled at playing people",
        r"first person",
        r"one or two sentences, always fewer than three",
        r"sound natural",
        r"never carry out or answer your own request",
        r"without names, labels",
    ],
)
def test_the_roleplayer_is_told_every_rule_before_anything_personal(rule: str) -> None:
    """Constant text first: the common prefix of two people's prompts holds all rules."""
    other = talk(("Why?", "So."), of=pair("Where should I go?", "Zoe", "You see me sail."))
    systems = [SHIPPED.roleplayer_messages(c)[0].content for c in (TALK, other)]
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*systems, strict=False))
    assert re.search(rule, "".join(letter for letter, _ in same), re.IGNORECASE)


def test_the_roleplayer_sees_persona_and_task_and_the_roles_swapped() -> None:
    system, *dialogue = SHIPPED.roleplayer_messages(UNANSWERED)
    assert system.role == "system"
    assert all(part in system.content for part in ("Ada", BAKER, TASK))
    assert dialogue == [
        Message("user", "Where do you eat?"),
        Message("assistant", "At my sister's."),
        Message("user", "What do you avoid?"),
        Message("assistant", "Only peanuts."),
        Message("user", "How much can you spend?"),
    ]


def test_the_respondent_hears_the_task_again_at_the_end_and_no_instructions() -> None:
    assert SHIPPED.respondent_messages(TALK) == (
        Message("user", f"My name is Ada. {TASK}"),
        Message("assistant", "Where do you eat?"),
        Message("user", "At my sister's."),
        Message("assistant", "What do you avoid?"),
        Message("user", f"Only peanuts.\n\n{TASK}"),
    )


def test_another_pair_hears_the_dialogue_under_its_own_name() -> None:
    other = pair(name="Zoe", persona="I sail.")
    messages = SHIPPED.respondent_messages(TALK, other)
    assert messages[0] == Message("user", f"My name is Zoe. {TASK}")
    assert messages[1:] == SHIPPED.respondent_messages(TALK)[1:]
    assert "Ada" not in text_of(messages)


def test_nobody_answers_a_task_while_a_question_is_open() -> None:
    with pytest.raises(ValueError, match="shorter"):
        SHIPPED.respondent_messages(UNANSWERED)


def test_the_controls_are_the_task_alone_and_the_persona_with_the_task() -> None:
    opening = Message("user", f"My name is Ada. {TASK}")
    assert SHIPPED.negative_control_messages(pair()) == (opening,)
    assert SHIPPED.positive_control_messages(pair()) == (
        Message("user", f"{BAKER}\n\n{opening.content}"),
    )


def test_the_oracle_sees_persona_and_task_and_writes_at_most_ten_sentences() -> None:
    system, user = SHIPPED.oracle_messages(pair())
    assert user == Message("user", TASK)
    assert all(part in system.content for part in ("Ada", BAKER, "at most ten sentences"))


def test_two_pairs_questioners_share_the_whole_system_message() -> None:
    one, other = (
        SHIPPED.questioner_messages(talk(of=p))
        for p in (pair(), pair("Where to?", "Zoe", "I sail."))
    )
    assert one[0] == other[0]
    assert one[1] != other[1]


@pytest.mark.parametrize(
    "view",
    [
        lambda p: SHIPPED.questioner_messages(talk((HOSTILE, HOSTILE), of=p)),
        lambda p: SHIPPED.roleplayer_messages(talk((HOSTILE, HOSTILE), of=p)),
        lambda p: SHIPPED.respondent_messages(talk((HOSTILE, HOSTILE), of=p)),
        SHIPPED.negative_control_messages,
        SHIPPED.positive_control_messages,
        SHIPPED.oracle_messages,
    ],
    ids=["questioner", "roleplayer", "respondent", "negative", "positive", "oracle"],
)
def test_template_syntax_in_user_text_is_left_alone(view) -> None:
    """Every place where name, persona, task or talk stood holds it unchanged and unescaped."""
    hostile = text_of(view(pair(f"{HOSTILE} task", f"{HOSTILE} name", f"{HOSTILE} persona")))
    assert HOSTILE in hostile
    assert hostile.count("{{") == 2 * hostile.count(HOSTILE)
    assert "49" not in hostile


def test_shipped_texts_are_the_same_for_a_named_person_who_speaks_for_itself() -> None:
    """So what is said of other personas can change, and no row of theirs is due."""
    for name, variables in TEMPLATES.items():
        values = {variable: f"<{variable}>" for variable in variables.all} | {"third_person": ""}
        plain = for_named_first_person(shipped_text(name))
        assert "{%" not in plain.replace("{% else %}", "")
        assert render(shipped_text(name), **values) == render(plain, **values)


def test_without_a_name_all_prompts_and_both_controls_do_without_it() -> None:
    person = Persona("p", "", "I bake in Ghent.")
    pair = Pair(Task("t", "What now?"), person)
    conversation = Conversation(pair, 0).with_question("Why?", False).with_answer("I bake.")
    of_roles = [
        SHIPPED.questioner_messages(conversation),
        SHIPPED.roleplayer_messages(conversation),
        SHIPPED.respondent_messages(conversation),
        SHIPPED.negative_control_messages(pair),
        SHIPPED.positive_control_messages(pair),
        SHIPPED.oracle_messages(pair),
        SHIPPED.judge_messages(pair, "a", "b", written=True),
    ]
    for messages in of_roles:
        text = "\n".join(message.content for message in messages)
        assert "My name" not in text
        assert "a name" not in text
        assert ", ," not in text
        assert "  " not in text.replace("\n\n", "\n")
    assert SHIPPED.negative_control_messages(pair)[0].content == "What now?"
    assert SHIPPED.positive_control_messages(pair)[0].content == "I bake in Ghent.\n\nWhat now?"


def test_the_roleplayer_is_told_that_a_description_is_in_the_third_person() -> None:
    pair = Pair(Task("t", "What now?"), Persona("p", "Ana", "Ana bakes.", third_person=True))
    told = SHIPPED.roleplayer_messages(Conversation(pair, 0))[0].content
    assert "own words" not in told
    assert "say what it tells of this person as what you tell of yourself" in told
    opening = SHIPPED.positive_control_messages(pair)[0].content
    assert opening == "This is me, as others describe me: Ana bakes.\n\nMy name is Ana. What now?"
