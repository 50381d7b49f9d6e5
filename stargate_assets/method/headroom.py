"""How much of a gold response is about its person: what a conversation can win.

The reward of STaR-GATE is the log-probability of a gold response (section 3). Where the persona
makes it hardly more probable than the task alone, no question can, and nothing is learnt. Not in
the paper.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from stargate_assets.method.conversation import Pair
from stargate_assets.method.language_model import LanguageModel, ScoreRequest
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.text import NEAR_DUPLICATE, readdress, shingles, similarity, words

ABOUT = 0.5
"""Nats by which the persona makes a token more probable that is about the person."""
LEAST_GAIN = 0.3
"""Nats a token under which gold responses leave hardly anything to win: plain ones of
everyday_mini have 1.5, literary ones, from which nothing was learnt, 0.1.
"""
MOST_COPIES, MOST_REFUSALS = 0.2, 0.05
"""Shares of gold responses above which they are warned of."""
_STAND_IN = "Somebody"
_REFUSAL = re.compile(
    r"(?i)\b(?:i(?: am|['’]m) (?:sorry|unable)"
    r"|i (?:can(?:not|['’]t)|won['’]t) (?:help|assist|answer)"
    r"|as an? (?:ai|language model))\b"
)


@dataclass(frozen=True, slots=True)
class Headroom:
    """What the persona does to a gold response under the scorer. `gain` is the mean over its tokens
    of log p(token | persona, task) - log p(token | task), in nats; `share` is that of the tokens
    that gain more than ABOUT.
    """

    pair: Pair
    gain: float
    share: float
    tokens: int


def measure_headroom(
    scorer: LanguageModel,
    pairs: Sequence[Pair],
    gold_texts: Mapping[tuple[str, str], str],
    prompts: Prompts,
) -> list[Headroom]:
    """The headroom of each pair's gold response, but of those that are too long for the model. One
    call of the scorer.
    """
    requests = [
        ScoreRequest(messages, gold_texts[pair.key])
        for pair in pairs
        for messages in (
            prompts.negative_control_messages(pair),
            prompts.positive_control_messages(pair),
        )
    ]
    scores = scorer.score(requests, "scoring both controls")
    found: list[Headroom] = []
    for pair, without, with_persona in zip(pairs, scores[::2], scores[1::2], strict=True):
        if without.failure or with_persona.failure:
            continue
        gains = [
            known - unknown
            for known, unknown in zip(with_persona.log_probs, without.log_probs, strict=True)
        ]
        about = sum(gain > ABOUT for gain in gains)
        found.append(Headroom(pair, sum(gains) / len(gains), about / len(gains), len(gains)))
    return found


def is_refusal(gold_response: str) -> bool:
    """Whether a gold response declines to answer, by words (English)."""
    return _REFUSAL.search(gold_response) is not None


def near_copies(
    pairs: Sequence[Pair], gold_texts: Mapping[tuple[str, str], str]
) -> list[tuple[Pair, Pair]]:
    """Pairs of one task whose gold responses say nearly the same to two people, each with the first
    that it is like; names do not count. Options are no copies: they are there for several people.
    """
    seen: dict[str, list[tuple[Pair, frozenset[str]]]] = {}
    found: list[tuple[Pair, Pair]] = []
    for pair in pairs:
        if pair.key not in gold_texts or pair.task.options:
            continue
        text = readdress(gold_texts[pair.key], pair.persona.name, _STAND_IN)
        own, earlier = shingles(text), seen.setdefault(pair.task.task_id, [])
        like = (other for other, of in earlier if similarity(own, of) >= NEAR_DUPLICATE)
        if (first := next(like, None)) is not None:
            found.append((pair, first))
        earlier.append((pair, own))
    return found


@dataclass(frozen=True, slots=True)
class GoldSummary:
    """Of gold responses: their lengths in words, and how many decline or say to two people nearly
    the same.
    """

    lengths: tuple[int, ...]
    refusals: int
    copies: int


def summarise_gold(pairs: Sequence[Pair], gold_texts: Mapping[tuple[str, str], str]) -> GoldSummary:
    """What can be seen without a model in the gold responses of pairs."""
    texts = [gold_texts[pair.key] for pair in pairs if pair.key in gold_texts]
    return GoldSummary(
        tuple(sorted(len(words(text)) for text in texts)),
        sum(map(is_refusal, texts)),
        len(near_copies(pairs, gold_texts)),
    )


def gain_warning(gain: float) -> str | None:
    """A sentence if the personas make gold responses so little more probable, in nats a token."""
    if gain >= LEAST_GAIN:
        return None
    return (
        f"The persona makes a gold response only {gain:.2f} nats a token more probable, under "
        f"{LEAST_GAIN} there is hardly anything to win by asking: have the gold responses say "
        "outright which facts of the person they rest on."
    )


def headroom_warnings(measured: Sequence[Headroom], gold: GoldSummary) -> list[str]:
    """What speaks against training on these gold responses, one sentence each."""
    count, said = len(gold.lengths), list[str]()
    if measured and (warning := gain_warning(mean(one.gain for one in measured))):
        said.append(warning)
    if gold.copies > MOST_COPIES * count:
        said.append(
            f"{gold.copies} of {count} gold responses say nearly the same to another person: they "
            "are about the task and not about the person."
        )
    if gold.refusals > MOST_REFUSALS * count:
        said.append(f"{gold.refusals} of {count} gold responses decline to answer.")
    return said
