import pytest
from transformers import PreTrainedTokenizerFast

from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.method.language_model import Completion, EngineError, Message
from stargate_assets_tests.chat_templates import FAMILIES, chat_tokenizer, special_id

SYSTEM = Message("system", "Be brief.")
USER = Message("user", "Who are you?")
ANSWER = Message("assistant", "A baker.")
every_family = pytest.mark.parametrize("family", FAMILIES)


@every_family
def test_the_end_of_turn_is_the_token_with_which_the_template_closes_a_turn(family: str) -> None:
    expected = special_id(family, FAMILIES[family].end_of_turn)
    assert chat_tokenizer(family).end_of_turn_ids == (expected,)


@every_family
def test_a_system_role_is_found_by_trying_one(family: str) -> None:
    assert chat_tokenizer(family).has_system_role is FAMILIES[family].has_system_role


@every_family
def test_system_text_is_never_lost(family: str) -> None:
    """Where there is no system role, it opens the first user message."""
    rendered = chat_tokenizer(family).render([SYSTEM, USER], generation=True)
    assert rendered.count("Be brief.") == rendered.count("Who are you?") == 1
    folded = "Be brief.\n\nWho are you?" in rendered
    assert folded is not FAMILIES[family].has_system_role


@every_family
def test_a_prompt_with_what_is_said_and_its_end_is_the_template_s_own_rendering(
    family: str,
) -> None:
    tokenizer = chat_tokenizer(family)
    ids = (*tokenizer.context_ids([USER]), *tokenizer.turn_ids("A baker."))
    kept = tokenizer.render([USER, ANSWER], generation=False)
    rendered = tokenizer.tokenizer(kept, add_special_tokens=False).input_ids
    assert (tuple(rendered[: len(ids)]) == ids) is FAMILIES[family].appends


@every_family
def test_a_prompt_opens_the_assistant_s_turn_and_does_not_end_it(family: str) -> None:
    tokenizer = chat_tokenizer(family)
    ids = tokenizer.prompt_ids([USER])
    assert tokenizer.tokenizer.decode(list(ids)) == tokenizer.render([USER], generation=True)
    assert ids[-1] != special_id(family, FAMILIES[family].end_of_turn)


def test_a_dialogue_is_opened_for_the_assistant_only_on_demand() -> None:
    tokenizer = chat_tokenizer("chatml")
    as_it_stands, opened = (tokenizer.render([USER], generation) for generation in (False, True))
    assert opened == f"{as_it_stands}<|im_start|>assistant\n"


@pytest.mark.parametrize("text", ["A baker.", " \n\n two  spaces ", "日本 é", ""])
def test_text_survives_its_tokens_and_gets_no_special_ones(text: str) -> None:
    tokenizer = chat_tokenizer("llama3")
    ids = tokenizer.text_ids(text)
    assert tokenizer.tokenizer.decode(list(ids)) == text
    assert not set(ids) & set(tokenizer.tokenizer.all_special_ids)


def test_decoding_leaves_special_tokens_out() -> None:
    tokenizer = chat_tokenizer("gemma")
    ids = (*tokenizer.text_ids("A baker."), *tokenizer.end_of_turn_ids)
    assert tokenizer.decode(ids) == "A baker."


def test_a_completion_ends_with_a_stop_token_or_for_length() -> None:
    tokenizer = chat_tokenizer("chatml")
    words = tokenizer.text_ids(" A baker. ")
    stopped, cut = (tokenizer.completion((1, 2, 3), words, stopped) for stopped in (True, False))
    assert stopped == Completion("A baker.", "stop", 3, len(words) + 1)
    assert cut == Completion("A baker.", "length", 3, len(words))
    assert tokenizer.completion((1,), (), stopped=True) == Completion("", "stop", 1, 1)


def test_a_tokenizer_without_a_template_is_refused_with_what_to_do() -> None:
    plain = PreTrainedTokenizerFast(
        tokenizer_object=chat_tokenizer("chatml").tokenizer.backend_tokenizer
    )
    with pytest.raises(EngineError, match=r"tokenizer of base-7b has no chat template; use an"):
        ChatTokenizer(plain, "base-7b")
