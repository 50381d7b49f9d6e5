"""Between frames, as tables hold them, and the objects that the method works on."""

from collections.abc import Iterable, Sequence

import polars as pl

from stargate_assets.method.conversation import Conversation, Pair, Persona, Task, question_rate
from stargate_assets.method.eligibility import Ineligibility, ineligibility
from stargate_assets.method.scoring import GoldLogProb
from stargate_assets.method.simulation import Cell
from stargate_assets.storage.schemas import SCHEMAS


def pairs_of(tasks: pl.DataFrame, personas: pl.DataFrame) -> list[Pair]:
    """Every task with every persona of the split, in the order of their ids."""
    return [
        Pair(Task(*task), Persona(*persona))
        for task in tasks.sort("task_id").select("task_id", "text", "kind").iter_rows()
        for persona in personas.sort("persona_id").select("persona_id", "name", "text").iter_rows()
    ]


def conversations_frame(
    cell: Cell, policy: str, conversations: Iterable[Conversation]
) -> pl.DataFrame:
    return table(
        "conversations",
        [
            {
                **_key(cell, c.pair, c.sample),
                "policy": policy,
                "roleplayer": c.roleplayer,
                "questions": c.questions,
                "truncated": c.truncated,
                "answers": c.answers,
                "question_rate": question_rate(c.questions),
                "ineligibility": ineligibility(c),
            }
            for c in conversations
        ],
    )


def conversations_of(frame: pl.DataFrame, pairs: Sequence[Pair]) -> list[Conversation]:
    """The rows as conversations, ordered by pair and sample."""
    by_key = {pair.key: pair for pair in pairs}
    key = ("task_id", "persona_id", "sample")
    columns = (*key, "roleplayer", "ineligibility", "questions", "truncated", "answers")
    return [
        Conversation(
            by_key[task, persona],
            sample,
            who,
            *map(tuple, turns),
            refused=reason == Ineligibility.REFUSED,
        )
        for task, persona, sample, who, reason, *turns in frame.sort(key)
        .select(columns)
        .iter_rows()
    ]


def gold_log_probs_frame(cell: Cell, scores: Iterable[GoldLogProb]) -> pl.DataFrame:
    return table(
        "gold_log_probs",
        [
            {
                **_key(cell, s.pair, s.sample),
                "condition": s.condition,
                "heard_persona_id": s.heard_persona_id,
                "log_prob": s.log_prob,
                "tokens": s.tokens,
            }
            for s in scores
        ],
    )


def gold_texts(frame: pl.DataFrame) -> dict[tuple[str, str], str]:
    """(task_id, persona_id) -> the gold response, of those that can be compared with."""
    rows = (
        frame.filter(pl.col("exclusion").is_null())
        .select("task_id", "persona_id", "text")
        .iter_rows()
    )
    return {(task, persona): text for task, persona, text in rows}


def table(name: str, rows: Sequence[dict[str, object]]) -> pl.DataFrame:
    """Rows as a frame with a table's column types, also when there are no rows."""
    schema = {column: kind.dtype for column, kind in SCHEMAS[name].columns().items()}
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def row_key(cell: Cell, task_id: str, persona_id: str, sample: int | None) -> dict[str, object]:
    return {**pair_key(cell, task_id, persona_id), "sample": sample}


def pair_key(cell: Cell, task_id: str, persona_id: str) -> dict[str, object]:
    return {
        "iteration": cell.iteration,
        "split": cell.split,
        "task_id": task_id,
        "persona_id": persona_id,
    }


def _key(cell: Cell, pair: Pair, sample: int | None) -> dict[str, object]:
    return row_key(cell, *pair.key, sample)
