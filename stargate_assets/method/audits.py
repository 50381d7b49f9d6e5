"""Whether a Judge can tell: comparisons whose truth is known, and how often it finds that.

The gold audit is the easy one: gold responses were written from the persona. The own-text audit is
as hard as what win rates rest on, the policy's own kind of text.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from stargate_assets.method.arms import Arm, Response
from stargate_assets.method.conversation import Pair, others_responses
from stargate_assets.method.judging import Comparison, Verdict
from stargate_assets.method.labels import Labelled
from stargate_assets.method.statistics import Estimate, clustered_share
from stargate_assets.method.win_rates import WORTH

TRUSTED_ACCURACY = 0.8
"""Of a Judge on pairs whose truth is known; below it, win rates say little."""
OWN_TEXT_ARM = Arm.INSTRUCTED
"""Whose answers the own-text audit compares: the base model is told to use what was said, so that
its answers are about the person as far as it can make them so.
"""


class Audit(Labelled):
    """What is compared: this persona's response against another's to the same task."""

    GOLD = "gold", "gold responses"
    OWN_TEXT = "own_text", "own text"


NO_OWN_TEXT = f"no audit on own text, because evaluation.arms has no {OWN_TEXT_ARM}"
"""Why the harder audit is missing, where it is."""


class LeftOut(StrEnum):
    """Why a pair is not in an audit."""

    NO_RESPONSE = "no_response"
    REFUSED = "refused"
    EMPTY = "empty"
    NO_OTHER = "no_other"
    """Nobody else has a response to the same task."""
    IDENTICAL = "identical"
    """The two responses differ by the name at most, so neither fits better."""


@dataclass(frozen=True, slots=True)
class Audited:
    """A comparison whose response should win, because the reference is another persona's."""

    audit: Audit
    comparison: Comparison
    other_persona_id: str


@dataclass(frozen=True, slots=True)
class Audits:
    """What a Judge is asked where the truth is known, and what it is not asked, by reason."""

    audited: Sequence[Audited]
    left_out: Mapping[tuple[Audit, LeftOut], int]


def audits_of(arms: Collection[Arm]) -> list[Audit]:
    """The audits that can be made of an experiment with these arms, the harder one last."""
    return [Audit.GOLD, *([Audit.OWN_TEXT] if OWN_TEXT_ARM in arms else [])]


def audit_pairs(
    pairs: Sequence[Pair],
    gold_responses: Mapping[tuple[str, str], str],
    base_responses: Sequence[Response],
    split: str,
    seed: int,
) -> Audits:
    """Both audits of a split: for each pair its response against that of another persona to the
    same task, who is the same in both if all have a response. `base_responses` are those of the
    base model's cell; the own-text audit is made if OWN_TEXT_ARM is among them.
    """
    own = {
        response.pair.key: None if response.refused else response.text
        for response in base_responses
        if response.arm is OWN_TEXT_ARM
    }
    texts: dict[Audit, Mapping[tuple[str, str], str | None]] = {Audit.GOLD: gold_responses}
    if own:
        texts[Audit.OWN_TEXT] = own
    audited: list[Audited] = []
    left_out: Counter[tuple[Audit, LeftOut]] = Counter()
    for audit, responses in texts.items():
        told = {key: text for key, text in responses.items() if text is not None and text.strip()}
        others = others_responses(pairs, told, "audit", split, seed)
        for pair in pairs:
            if pair.key not in told:
                left_out[audit, _why_untold(responses, pair)] += 1
            elif pair not in others:
                left_out[audit, LeftOut.NO_OTHER] += 1
            elif others[pair][1] == told[pair.key]:
                left_out[audit, LeftOut.IDENTICAL] += 1
            else:
                persona_id, theirs = others[pair]
                comparison = Comparison(pair, told[pair.key], theirs)
                audited.append(Audited(audit, comparison, persona_id))
    return Audits(audited, left_out)


def _why_untold(responses: Mapping[tuple[str, str], str | None], pair: Pair) -> LeftOut:
    if pair.key not in responses:
        return LeftOut.NO_RESPONSE
    return LeftOut.REFUSED if responses[pair.key] is None else LeftOut.EMPTY


def audit_accuracy(verdicts: Mapping[tuple[str, str], Verdict]) -> Estimate | None:
    """The share of known truths that a Judge finds, ties as half; None without any verdict."""
    values = {pair: WORTH[verdict] for pair, verdict in verdicts.items()}
    return clustered_share(values) if values else None


def deciding_accuracy(accuracies: Mapping[Audit, Estimate]) -> Estimate | None:
    """The accuracy that says whether a Judge can be trusted: that of the hardest audit there is."""
    return next((accuracies[audit] for audit in reversed(Audit) if audit in accuracies), None)
