"""The tables, one dataframely schema each: what a frame must be before it is written, and what each
table and column means.

A table has the name of its asset, in the DuckDB schema of its experiment or data set.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dataframely as dy

from stargate_assets.storage.schemas.bookkeeping import Failures, Materializations, Usage
from stargate_assets.storage.schemas.chats import Chats
from stargate_assets.storage.schemas.data import GoldResponses, Personas, Tasks
from stargate_assets.storage.schemas.evaluation import (
    HeardStatements,
    JudgeAudit,
    Judgements,
    Report,
    Responses,
    WinRates,
)
from stargate_assets.storage.schemas.evaluation_sets import EvaluationOutcomes
from stargate_assets.storage.schemas.raters import HumanJudgements
from stargate_assets.storage.schemas.training import (
    BestConversations,
    Checkpoints,
    Conversations,
    GoldLogProbs,
    RegularizationResponses,
    RoleplayerAudit,
)

SCHEMAS: dict[str, type[dy.Schema]] = {
    "tasks": Tasks,
    "personas": Personas,
    "gold_responses": GoldResponses,
    "conversations": Conversations,
    "roleplayer_audit": RoleplayerAudit,
    "gold_log_probs": GoldLogProbs,
    "best_conversations": BestConversations,
    "regularization_responses": RegularizationResponses,
    "checkpoints": Checkpoints,
    "responses": Responses,
    "heard_statements": HeardStatements,
    "judge_audit": JudgeAudit,
    "judgements": Judgements,
    "win_rates": WinRates,
    "report": Report,
    "evaluation_outcomes": EvaluationOutcomes,
    "chats": Chats,
    "human_judgements": HumanJudgements,
}
"""The tables of data sets and experiments, by name."""
BOOKKEEPING: dict[str, type[dy.Schema]] = {
    "materializations": Materializations,
    "usage": Usage,
    "failures": Failures,
}
"""The tables of the DuckDB schema `warehouse`, by name."""


@dataclass(frozen=True, slots=True)
class Column:
    """What people are told of a table's column; `type` is its Polars type."""

    name: str
    type: str
    description: str
    nullable: bool


def table_columns(schema: type[dy.Schema]) -> Iterator[Column]:
    """The columns of a table, in order."""
    for name, column in schema.columns().items():
        yield Column(name, str(column.dtype), column.description or "", column.nullable)


def table_description(schema: type[dy.Schema]) -> str:
    """What a table holds, in one line without a full stop: the first paragraph of its docstring."""
    paragraph, *_ = (schema.__doc__ or "").split("\n\n")
    return " ".join(paragraph.split()).removesuffix(".")
