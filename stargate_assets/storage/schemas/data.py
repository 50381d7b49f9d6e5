"""The tables of a data set."""

import dataframely as dy

from stargate_assets.method.gold_responses import Exclusion
from stargate_assets.storage.schemas import shared


class Tasks(dy.Schema):
    """What users ask for, one row for each task."""

    split = shared.split()
    task_id = dy.String(primary_key=True, description="Name of the task, unique in its split")
    text = shared.nonblank("The user's request, as the questioner reads it")
    domain = dy.String(nullable=True, description="Subject of the task; null if not stated")
    kind = shared.kind()
    origin = shared.origin()
    options = dy.List(
        dy.String(nullable=False),
        nullable=True,
        description="What may be answered, of which each gold response is one; null for any text",
    )


class Personas(dy.Schema):
    """Who the users are, one row for each persona."""

    split = shared.split()
    persona_id = dy.String(primary_key=True, description="Name of the persona, unique in its split")
    name = dy.String(
        nullable=True, regex=r"\S", description="What the person is called; null if it has no name"
    )
    text = shared.nonblank("Description of the person")
    source = shared.source()
    statements = dy.List(
        dy.String(nullable=False),
        nullable=True,
        description="What the text states, piece by piece; null where that is its sentences",
    )
    third_person = dy.Bool(
        nullable=True, description="Whether the text speaks of the person as others do; null: no"
    )
    origin = shared.origin()


class GoldResponses(dy.Schema):
    """The best response to a task for a persona, written by an Oracle that knows both.

    A row with an `exclusion` is kept to be looked at and is in no comparison.
    """

    split = shared.split()
    task_id = shared.task_id()
    persona_id = shared.persona_id()
    text = dy.String(nullable=False, description="The gold response")
    source = shared.source()
    exclusion = shared.choice(Exclusion, "Why the row is in no comparison, null if it is in them")
