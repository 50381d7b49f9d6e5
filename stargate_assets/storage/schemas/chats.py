"""The table of conversations that people have held with a policy and kept."""

import dataframely as dy

from stargate_assets.storage.schemas import shared


class Chats(dy.Schema):
    """Conversations of stargate chat that were kept, one row for each."""

    chat_id = dy.String(primary_key=True, description="Name of the conversation, drawn at random")
    iteration = dy.Int64(
        nullable=False, min=0, description="Number of the policy that answered; 0 is the base model"
    )
    policy = shared.nonblank("SHA-256 of the checkpoint that answered, or base for the base model")
    task = shared.nonblank("What was asked for")
    name = shared.nonblank("What the user was called")
    persona_id = dy.String(
        nullable=True, description="Persona that a roleplayer played; null if a person talked"
    )
    roleplayer = dy.String(
        nullable=True, description="Label of the roleplayer; null if a person talked"
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
        description="What the policy said last that had no reply, because it did not ask or the "
        "answer was wanted; null if there is none",
    )
    response = dy.String(nullable=False, description="The policy's answer to the task")
    truncated = shared.truncated()
    held_at = dy.Datetime(nullable=False, description="When the answer came, in UTC")
