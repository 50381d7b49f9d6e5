"""The table of what policies do on external evaluations."""

import dataframely as dy

from stargate_assets.method.evaluations import EVALUATIONS
from stargate_assets.storage.schemas import shared

MEASURES = "; ".join(
    f"{name}: {meaning}" for kind in EVALUATIONS.values() for name, meaning in kind.measures.items()
)


class EvaluationOutcomes(dy.Schema):
    """What a policy does with each item of an external evaluation, and what that shows."""

    iteration = shared.iteration()
    split = dy.String(
        primary_key=True, description="External evaluation, by the name it is declared under"
    )
    item_id = dy.String(primary_key=True, description="Item, by the text that the user brings")
    kind = shared.choice(EVALUATIONS, "Whose records they are", nullable=False)
    cluster = shared.nonblank("What makes items alike, such as their category; else the item")
    policy = shared.nonblank("SHA-256 of the policy's checkpoint; base if it is the base model")
    task = shared.nonblank("What the user brings")
    known = dy.String(nullable=False, description="What the user knows, a sentence for each thing")
    roleplayer = shared.nonblank("Label of the roleplayer that replied")
    first = dy.String(
        nullable=True,
        description="What the policy says to the task alone; null if it was not asked",
    )
    questions = dy.List(
        dy.String(nullable=False),
        nullable=False,
        description="What the policy, told to ask, said in each turn",
    )
    answers = dy.List(
        dy.String(nullable=False), nullable=False, description="The reply to each turn"
    )
    refused = dy.Bool(
        nullable=False, description="Whether a content filter stopped the conversation"
    )
    measures = dy.List(
        dy.Struct(
            {"measure": dy.String(nullable=False), "value": dy.Float64(nullable=False)},
            nullable=False,
        ),
        nullable=False,
        description=f"What was measured; one that could not be had is left out. {MEASURES}",
    )
