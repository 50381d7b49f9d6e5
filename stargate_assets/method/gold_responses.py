"""Gold responses written by the Oracle, and when one of them cannot be compared with (section 4 of
the paper, "Gold Responses").
"""

import re
from collections.abc import Sequence
from enum import StrEnum

from stargate_assets.method.conversation import Pair
from stargate_assets.method.hygiene import fault
from stargate_assets.method.language_model import ChatRequest, Completion, LanguageModel, Sampling
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.text import first_sentences, words

MOST_SENTENCES = 10

_REFUSED = re.compile(
    r"(?i)^\W*(?:i'?m sorry|i am sorry|sorry|i apologi[sz]e)?[\s,.!;:-]*(?:but )?"
    r"(?:as an? (?:ai|language model|assistant)\b"
    r"|i(?: can(?:'|’)?t| cannot| can not| won(?:'|’)?t| will not|(?:'|’)?m (?:not able|unable)"
    r"| am (?:not able|unable))(?: to)? "
    r"(?:help|assist|answer|provide|comply|fulfil|do that|give (?:you )?(?:advice|an answer)))"
)


class Exclusion(StrEnum):
    """Why a gold response is not compared with."""

    EMPTY = "empty"
    TRUNCATED = "truncated"
    REFUSED = "refused"
    NOT_TEXT = "not_text"


def gold_response(completion: Completion) -> tuple[str, Exclusion | None]:
    """What the Oracle wrote, of which MOST_SENTENCES are kept, and the first reason for which it is
    no gold response; None if there is none.
    """
    if completion.finish_reason == "refused" or _REFUSED.match(completion.text):
        return completion.text, Exclusion.REFUSED
    broken_off = completion.finish_reason == "length"
    if not words(completion.text):  # a thought may have taken all tokens
        return completion.text, Exclusion.TRUNCATED if broken_off else Exclusion.EMPTY
    kept = first_sentences(completion.text, MOST_SENTENCES, broken_off=broken_off)
    if kept is None:
        return completion.text, Exclusion.TRUNCATED
    return kept, Exclusion.NOT_TEXT if fault("text", kept) else None


def write_gold_responses(
    oracle: LanguageModel,
    pairs: Sequence[Pair],
    max_tokens: int,
    prompts: Prompts,
) -> list[tuple[Pair, str, Exclusion | None]]:
    """(pair, text, why it is excluded) for each pair, greedy, from persona and task alone."""
    sampling = Sampling(max_tokens)
    requests = [ChatRequest(prompts.oracle_messages(pair), sampling) for pair in pairs]
    completions = oracle.chat(requests, "writing gold responses")
    return [
        (pair, *gold_response(completion))
        for pair, completion in zip(pairs, completions, strict=True)
    ]
