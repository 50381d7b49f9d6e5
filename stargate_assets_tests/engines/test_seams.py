"""Where a text has other tokens alone than where it stands: what is learnt and scored is what the
model reads when it reads the whole dialogue.
"""

from functools import cache
from string import printable

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from stargate_assets.engines.chat_tokenizer import (
    TOKENISED_IN_PLACE,
    ChatTokenizer,
    template_traits,
)
from stargate_assets.method.examples import IGNORED, Dialogue, tokenise
from stargate_assets.method.language_model import Message, ScoreRequest
from stargate_assets_tests.chat_templates import FAMILIES, SPECIAL, chat_tokenizer

ASKED = (Message("user", "Who are you?"),)
CORPUS = ["I bake bread at night.\n\nWho do you live with at home? Bread, bread and bread."] * 4
IN_PLACE = ("chatml", "gemma", "phi3")
"""Families that write an answer right after a line end."""


@cache
def sentence_piece(family: str) -> ChatTokenizer:
    """A tokenizer of SentencePiece's kind: a space is a part of the word that follows it, and a
    text begins with one.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=SPECIAL,
        initial_alphabet=[*printable, "▁"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    made = FAMILIES[family]
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL[0],
        eos_token=made.eos,
        extra_special_tokens=list(made.declared),
        chat_template=made.template,
    )
    return ChatTokenizer(wrapped, family)


def whole(chat: ChatTokenizer, said: str) -> tuple[int, ...]:
    """The dialogue as the template writes it, read in one piece up to the end of the turn."""
    text = chat.render([*ASKED, Message("assistant", said)], generation=False)
    ids = chat.tokenizer(text, add_special_tokens=False).input_ids
    end = chat.end_of_turn_ids[-1]
    return tuple(ids[: len(ids) - ids[::-1].index(end)])


@pytest.mark.parametrize("family", [*IN_PLACE, "mistral", "llama3"])
@pytest.mark.parametrize("made", [sentence_piece, chat_tokenizer])
@pytest.mark.parametrize("said", ["bread at home", "I bake.", "42"])
def test_a_turn_has_the_tokens_of_the_whole_dialogue(family: str, made: object, said: str) -> None:
    """In training and in scores, with SentencePiece and with byte-level BPE."""
    chat: ChatTokenizer = made(family)  # pyright: ignore[reportCallIssue]
    (example,) = tokenise(Dialogue("answer", (*ASKED, Message("assistant", said))), chat)
    ((context, scored),) = chat.scored([ScoreRequest(ASKED, said, end_of_turn=True)])
    assert example.tokens == context + scored == whole(chat, said)
    assert tuple(t for t in example.labels if t != IGNORED)[-len(scored) :] == scored
    assert chat.decode(scored).strip() == said


@pytest.mark.parametrize("family", IN_PLACE)
def test_a_text_alone_begins_with_a_space_that_the_model_does_not_write(family: str) -> None:
    """So results of such tokenizers are told apart from those of texts that were read alone."""
    chat = sentence_piece(family)
    ((_, scored),) = chat.scored([ScoreRequest(ASKED, "bread")])
    assert scored != chat.text_ids("bread")
    assert template_traits(chat.tokenizer, {}) == (TOKENISED_IN_PLACE,)
    assert template_traits(chat_tokenizer(family).tokenizer, {}) == ()


@pytest.mark.parametrize("made", [sentence_piece, chat_tokenizer])
@pytest.mark.parametrize("said", ["\n\nbread", "\nI bake."])
def test_a_token_over_the_seam_is_not_what_a_prompt_can_be_followed_by(
    made: object, said: str
) -> None:
    """The line ends of the prompt and of the text would be one token; the prompt has its own."""
    chat: ChatTokenizer = made("chatml")  # pyright: ignore[reportCallIssue]
    ((context, scored),) = chat.scored([ScoreRequest(ASKED, said)])
    assert context == chat.prompt_ids(ASKED)
    assert chat.tokenizer.decode([*context, *scored]).endswith(f"assistant\n{said}")
