"""The Judge: which of two responses fits the persona better.

Both orders always, because judges prefer a place (fault 6). What is not scored is counted, never
dropped (fault 7).
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal

from stargate_assets.method.arms import REFERENCE_ARM, Arm, Reference, Response, judged_arms
from stargate_assets.method.conversation import Pair, is_question
from stargate_assets.method.language_model import (
    ChatRequest,
    Completion,
    LanguageModel,
    Message,
    Sampling,
    Score,
    ScoreRequest,
)
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.text import sentences

JudgeMethod = Literal["written", "choice", "fit"]
LETTERS = ("A", "B")
STRUCTURE = json.dumps(
    {
        "type": "object",
        "properties": {
            "comparison": {"type": "string"},
            "verdict": {"type": "string", "enum": [*LETTERS]},
        },
        "required": ["comparison", "verdict"],
        "additionalProperties": False,
    }
)
"""A JSON schema of a written judgement, for engines that can hold a model to one."""

_VERDICT = re.compile(r"[\s*_#>]*verdict[\s*_]*[:：][\s*_\"'(\[]*", re.IGNORECASE)
_LETTER = re.compile(r"([AB])[\s*_\"')\].]*")


class Verdict(StrEnum):
    """Of the response, against the reference."""

    WIN = "win"
    LOSS = "loss"
    TIE = "tie"


class Unscored(StrEnum):
    """Why a comparison has no verdict."""

    UNPARSED = "unparsed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Comparison:
    """None is a response that a content filter stopped."""

    pair: Pair
    response: str | None
    reference: str | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """`verdict` or `unscored`. `preference` is for the response: log-odds of its letter over both
    orders, or of method `fit` the difference in nats a token. `first` is what was said when the
    response stood first, `second` when it stood second.
    """

    verdict: Verdict | None = None
    unscored: Unscored | None = None
    preference: float | None = None
    first: Verdict | None = None
    second: Verdict | None = None
    comparison_first: str | None = None
    comparison_second: str | None = None


def judge(
    model: LanguageModel,
    method: JudgeMethod,
    comparisons: Sequence[Comparison],
    sampling: Sampling,
    prompts: Prompts,
) -> list[Judgement]:
    """A judgement for each comparison, in order. An empty response loses without a call, for `fit`
    one that does nothing but ask too, and what was refused is not scored. `sampling` is that of
    written comparisons.
    """
    settled = [_without_a_call(comparison, method) for comparison in comparisons]
    open_ = [c for c, known in zip(comparisons, settled, strict=True) if known is None]
    if method == "written":
        judged = _judge_written(model, open_, sampling, prompts)
    elif method == "choice":
        judged = _judge_choice(model, open_, prompts)
    else:
        judged = _judge_fit(model, open_, prompts)
    answers = iter(judged)
    return [next(answers) if known is None else known for known in settled]


def _without_a_call(comparison: Comparison, method: JudgeMethod) -> Judgement | None:
    response, reference = comparison.response, comparison.reference
    if response is None or reference is None:
        return Judgement(unscored=Unscored.REFUSED)
    # How well the persona explains a text does not tell an answer from a question about the user.
    is_answer = _says_something if method == "fit" else str.strip
    answers = bool(is_answer(response)), bool(is_answer(reference))
    return None if all(answers) else Judgement(verdict=_sign(answers[0] - answers[1]))


def _says_something(text: str) -> bool:
    return not all(map(is_question, sentences(text)))


def _texts(comparison: Comparison) -> tuple[str, str]:
    assert comparison.response is not None
    assert comparison.reference is not None
    return comparison.response, comparison.reference


def _orders(
    comparisons: Sequence[Comparison], prompts: Prompts, *, written: bool
) -> list[tuple[Message, ...]]:
    """Two prompts for each comparison: the response as A, then as B."""
    orders: list[tuple[Message, ...]] = []
    for comparison in comparisons:
        response, reference = _texts(comparison)
        for a, b in ((response, reference), (reference, response)):
            orders.append(prompts.judge_messages(comparison.pair, a, b, written=written))
    return orders


def _sign(preference: float) -> Verdict:
    if preference == 0:
        return Verdict.TIE
    return Verdict.WIN if preference > 0 else Verdict.LOSS


def _judge_choice(
    model: LanguageModel, comparisons: Sequence[Comparison], prompts: Prompts
) -> list[Judgement]:
    """log p("A") - log p("B") as the next message. The mean over both orders has no constant
    preference for a place in it.
    """
    requests = [
        ScoreRequest(prompt, letter)
        for prompt in _orders(comparisons, prompts, written=False)
        for letter in LETTERS
    ]

    def judgement(scores: Sequence[Score]) -> Judgement:
        a_first, b_first, a_second, b_second = (score.total for score in scores)
        first, second = a_first - b_first, b_second - a_second
        preference = (first + second) / 2
        return Judgement(
            _sign(preference), preference=preference, first=_sign(first), second=_sign(second)
        )

    return _judge_scores(model, requests, judgement)


def _judge_fit(
    model: LanguageModel, comparisons: Sequence[Comparison], prompts: Prompts
) -> list[Judgement]:
    """How much more probable the persona makes each response: log p(response | persona, task)
    - log p(response | task), mean per token. There is no order.
    """
    requests = [
        ScoreRequest(messages, text)
        for comparison in comparisons
        for text in _texts(comparison)
        for messages in prompts.fit_messages(comparison.pair)
    ]

    def judgement(scores: Sequence[Score]) -> Judgement:
        response, response_alone, reference, reference_alone = (score.mean for score in scores)
        preference = (response - response_alone) - (reference - reference_alone)
        return Judgement(_sign(preference), preference=preference)

    return _judge_scores(model, requests, judgement)


def _judge_scores(
    model: LanguageModel,
    requests: Sequence[ScoreRequest],
    judgement: Callable[[Sequence[Score]], Judgement],
) -> list[Judgement]:
    """A judgement of each four scores, unscored where one of them cannot be given."""
    scores = model.score(requests, "judging responses")
    fours = [scores[start : start + 4] for start in range(0, len(scores), 4)]
    return [
        Judgement(unscored=Unscored.REFUSED) if any(s.failure for s in four) else judgement(four)
        for four in fours
    ]


def _judge_written(
    model: LanguageModel,
    comparisons: Sequence[Comparison],
    sampling: Sampling,
    prompts: Prompts,
) -> list[Judgement]:
    """A comparison in words, and a verdict; what has no verdict is asked for once more."""
    orders = _orders(comparisons, prompts, written=True)

    def ask(asked: Sequence[tuple[Message, ...]], doing: str) -> list[Completion]:
        requests = [ChatRequest(messages, sampling, structure=STRUCTURE) for messages in asked]
        return [replace(c, text=as_text(c.text)) for c in model.chat(requests, doing)]

    written = ask(orders, "judging responses")
    again = [
        i
        for i, completion in enumerate(written)
        if completion.finish_reason != "refused" and verdict_letter(completion.text) is None
    ]
    retries = ask(
        [
            prompts.judge_again_messages(orders[i], written[i].text, comparisons[i // 2].pair)
            for i in again
        ],
        "judging responses again",
    )
    answers = list(written)
    for i, retry in zip(again, retries, strict=True):
        answers[i] = replace(retry, text=f"{written[i].text}\n\n{retry.text}")
    return [_combine_orders(*answers[i : i + 2]) for i in range(0, len(answers), 2)]


def as_text(text: str) -> str:
    """What a Judge wrote; in words, if it answered in the structure that was asked for."""
    try:
        fields: Any = json.loads(text)
        return f"{fields['comparison']}\nVerdict: {fields['verdict']}"
    except (ValueError, KeyError, TypeError):
        return text


def verdict_letter(text: str) -> str | None:
    """The letter of the verdict, which stands on the last line that is not empty; None if it does
    not, or if nothing but one letter may follow.
    """
    lines = text.strip().splitlines()
    label = _VERDICT.match(lines[-1]) if lines else None
    letter = _LETTER.fullmatch(lines[-1], label.end()) if label else None
    return letter[1] if letter else None


def _combine_orders(when_first: Completion, when_second: Completion) -> Judgement:
    """Orders that disagree are a tie."""
    first = _read_verdict(when_first, LETTERS[0])
    second = _read_verdict(when_second, LETTERS[1])
    texts = when_first.text, when_second.text
    if "refused" in (when_first.finish_reason, when_second.finish_reason):
        return Judgement(None, Unscored.REFUSED, None, first, second, *texts)
    if first is None or second is None:
        return Judgement(None, Unscored.UNPARSED, None, first, second, *texts)
    verdict = first if first == second else Verdict.TIE
    return Judgement(verdict, None, None, first, second, *texts)


def _read_verdict(completion: Completion, letter_of_response: str) -> Verdict | None:
    letter = verdict_letter(completion.text)
    if letter is None:
        return None
    return Verdict.WIN if letter == letter_of_response else Verdict.LOSS


def compare_with_references(
    responses: Sequence[Response], of_base: Sequence[Response], iteration: int
) -> list[tuple[Response, Reference, Comparison]]:
    """The comparison of each response of a judged arm with each of its references for the same
    pair, ordered by reference, arm and pair. `of_base` are the responses of the base model's cell.
    What a content filter stopped is None.
    """
    texts = {
        Reference.BASE: _texts_by_pair(of_base, REFERENCE_ARM),
        Reference.BASE_ASKS: _texts_by_pair(responses, Arm.BASE_ASKS),
    }
    return [
        (r, reference, Comparison(r.pair, None if r.refused else r.text, of_reference[r.pair.key]))
        for reference, of_reference in texts.items()
        for r in sorted(responses, key=lambda r: (r.arm, *r.pair.key))
        if (reference, r.arm) in judged_arms(iteration) and r.pair.key in of_reference
    ]


def _texts_by_pair(responses: Sequence[Response], arm: Arm) -> dict[tuple[str, str], str | None]:
    return {r.pair.key: None if r.refused else r.text for r in responses if r.arm == arm}
