"""The table of conversations that people have held with a policy."""

import dataframely as dy

from stargate_assets.storage.schemas import shared


class Chats(dy.Schema):
    """Conversations of stargate chat that were kept, and of stargate compare-blind --live, one row
    for each.
    """

    chat_id = dy.String(primary_key=True, description="Name of the conversation")
    iteration = dy.Int64(
        nullable=False, min=0, description="Number of the policy; 0 is the base model"
    )
    policy = shared.nonblank("SHA-256 of the policy's checkpoint, or base for the base model")
    task = shared.nonblank("What was asked for")
    name = shared.nonblank("What the user was called")
    persona_id = dy.String(
        nullable=True,
        description="Persona that a roleplayer or a rater played; null if a person spoke for "
        "themselves",
    )
    roleplayer = dy.String(
        nullable=True, description="Label of the roleplayer; null if a person talked"
    )
    rater = dy.String(
        nullable=True,
        description="Name of the rater who compares it with another policy's, unseen which is "
        "which; null in stargate chat",
    )
    questions = dy.List(
        dy.String(nullable=False),
        nullable=False,
        description="The questions of the policy that were replied to, a text for each turn",
    )
    answers = dy.List(
        dy.String(nullable=False), nullable=False, description="The reply to each question"
    )
    unanswered = dy.String(
        nullable=True,
        description="What the policy said last that had no reply, because it did not ask, the "
        "answer was wanted, or the reply is yet to come; null if there is none",
    )
    response = dy.String(
        nullable=True,
        description="The policy's answer to the task; null until it comes, and where failure says "
        "why there is none",
    )
    truncated = shared.truncated()
    failure = dy.String(
        nullable=True, description="Why the policy did not go on; null if nothing stopped it"
    )
    held_at = dy.Datetime(nullable=False, description="When the last of it was said, in UTC")
