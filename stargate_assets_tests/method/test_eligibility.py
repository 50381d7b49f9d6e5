import pytest

from stargate_assets.method.conversation import Conversation
from stargate_assets.method.eligibility import MOST_WORDS, Ineligibility, ineligibility
from stargate_assets_tests.method.people import BAKER, pair, talk

ASK, TELL = "What do you like to eat?", "I like figs."
LONG = " ".join(["word"] * (MOST_WORDS - 1))

UNFIT_QUESTIONS = [
    ("", Ineligibility.EMPTY),
    (" ?! ", Ineligibility.EMPTY),
    ("User: What do you eat?", Ineligibility.ROLE_LABEL_LEAKED),
    ("I see.\n**Question:** What do you eat?", Ineligibility.ROLE_LABEL_LEAKED),
    ("What do you eat?<|im_end|>", Ineligibility.ROLE_LABEL_LEAKED),
    ("Cook some rice.", Ineligibility.NOT_A_QUESTION),
    ("Cook rice. Add oil. Stir it. Do you like it?", Ineligibility.ANSWERS_THE_TASK),
    (f"{LONG} more words?", Ineligibility.ANSWERS_THE_TASK),
    ("Try these:\n- rice\n- beans\nWhich one?", Ineligibility.ANSWERS_THE_TASK),
    ("Try these:\n1. rice\n2) beans\nWhich one?", Ineligibility.ANSWERS_THE_TASK),
    ("Why can you say I cannot eat peanuts because?", Ineligibility.PERSONA_COPIED),
]
UNFIT_ANSWERS = [
    ("...", Ineligibility.EMPTY),
    ("Ada: hello\nAnswer: I like figs.", Ineligibility.ROLE_LABEL_LEAKED),
    ("I like figs.<|im_start|>", Ineligibility.ROLE_LABEL_LEAKED),
    (BAKER, Ineligibility.PERSONA_COPIED),
]
FIT = [
    talk((ASK, TELL)),
    talk(("I see. Thank you. What do you like to eat?", TELL)),
    talk((f"{LONG} eh?", TELL)),
    talk(("Is the user: label allowed inside a line?", TELL)),
    talk(("Is it true that you cannot eat peanuts because?", TELL)),  # four words of the persona
    talk((ASK, "I cannot eat peanuts because I do."), ("So I cannot eat peanuts because?", TELL)),
    talk(
        ("Do I bake bread at night for you?", TELL),
        of=pair(task="I bake bread at night, so when do I sleep?"),
    ),
    talk((ASK, "I am not sure what to say to that."), of=pair(persona="I sail.")),
]  # fmt: skip


def faults() -> list[tuple[Conversation, Ineligibility]]:
    cut = talk().with_question("What do you", truncated=True).with_answer(TELL)
    return [
        (cut, Ineligibility.TRUNCATED),
        (
            talk((ASK, TELL)).with_question("", truncated=False).with_answer(None),
            Ineligibility.REFUSED,
        ),
        (
            talk((ASK, TELL)).with_question(ASK, truncated=False).with_answer(None),
            Ineligibility.REFUSED,
        ),
        *[(talk((ASK, TELL), (question, TELL)), reason) for question, reason in UNFIT_QUESTIONS],
        *[(talk((ASK, TELL), (ASK, answer)), reason) for answer, reason in UNFIT_ANSWERS],
    ]


@pytest.mark.parametrize(("conversation", "reason"), faults())
def test_fault_8_what_must_not_be_learnt_has_a_typed_reason(
    conversation: Conversation, reason: Ineligibility
) -> None:
    assert ineligibility(conversation) is reason


def test_fault_8_every_reason_occurs() -> None:
    assert {reason for _, reason in faults()} == set(Ineligibility)


@pytest.mark.parametrize("conversation", FIT)
def test_a_proper_conversation_has_no_fault(conversation: Conversation) -> None:
    assert ineligibility(conversation) is None


def test_the_first_fault_in_order_of_turns_is_the_reason() -> None:
    both = talk((ASK, BAKER), ("Cook some rice.", TELL))
    assert ineligibility(both) is Ineligibility.PERSONA_COPIED


def test_what_is_said_later_does_not_excuse_an_earlier_question() -> None:
    copied = "Why can you say I cannot eat peanuts because?"
    told = "I cannot eat peanuts because my throat swells."
    assert ineligibility(talk((copied, told))) is Ineligibility.PERSONA_COPIED
    assert ineligibility(talk((ASK, told), (copied, TELL))) is None


def test_half_a_turn_is_not_judged() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ineligibility(talk((ASK, TELL)).with_question(ASK, truncated=False))
