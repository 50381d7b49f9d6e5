"""The table of what people say of two policies' responses."""

import dataframely as dy

from stargate_assets.method.judging import Verdict
from stargate_assets.storage.schemas import shared


class HumanJudgements(shared.PairRows):
    """Verdicts of stargate compare-blind, one row for each pair that a rater has judged."""

    reference_iteration = dy.Int64(
        primary_key=True,
        min=0,
        description="Number of the earlier policy, with whose response that of policy iteration "
        "is compared; 0 is the base model",
    )
    rater = dy.String(primary_key=True, regex=r"\S", description="Name that the rater stated")
    texts = dy.String(
        primary_key=True,
        regex=r"^[0-9a-f]+$",
        description="Digest of the two responses that were shown; when a policy answers otherwise "
        "the verdict counts no more",
    )
    verdict = shared.choice(
        Verdict,
        "Of the response of policy iteration, against that of policy reference_iteration",
        nullable=False,
    )
    response_first = dy.Bool(
        nullable=False,
        description="Whether the response of policy iteration stood first, on the left; else "
        "second, on the right",
    )
    reason = dy.String(nullable=True, description="Why, as the rater wrote it; null if not said")
    seconds = dy.Float64(
        nullable=False,
        min=0,
        description="Time from when the page last showed the pair to the verdict, in seconds",
    )
    judged_at = dy.Datetime(nullable=False, description="When the verdict came, in UTC")
