"""The table of what people say of two policies' responses."""

import dataframely as dy

from stargate_assets.method.judging import Verdict
from stargate_assets.storage.schemas import shared


class HumanJudgements(shared.PairRows):
    """Verdicts of stargate compare-blind, one row for each pair that a rater has judged; a rater's
    own request makes a pair too, and stands under test.
    """

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
        "the verdict counts no more. Of live verdicts: of the two conversations' names",
    )
    chat_id = dy.String(
        nullable=True,
        description="In chats, the rater's own conversation with policy iteration (a live "
        "verdict); null if stored responses were compared",
    )
    reference_chat_id = dy.String(
        nullable=True,
        description="The same with policy reference_iteration; null if stored responses were "
        "compared",
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
        description="Time from when the page last showed both responses to the verdict, in seconds",
    )
    judged_at = dy.Datetime(nullable=False, description="When the verdict came, in UTC")
