"""Between the rows of tables and the objects that the method works on.

`NAME_rows` makes the rows of a table, `NAME_from_rows` makes objects of them again.
"""

from collections.abc import Iterable, Mapping, Sequence

import polars as pl
import pyarrow as pa

from stargate_assets.method.arms import Arm, Players, Response
from stargate_assets.method.conditions import Condition
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task, question_rate
from stargate_assets.method.eligibility import Ineligibility, ineligibility
from stargate_assets.method.heard import Heard, Statement
from stargate_assets.method.regularization import RegularizationResponse
from stargate_assets.method.roleplayer_audit import AuditedReply
from stargate_assets.method.scoring import GoldLogProb
from stargate_assets.method.selection import Selected
from stargate_assets.method.simulation import Cell
from stargate_assets.storage.schemas import SCHEMAS

SAMPLE = ("task_id", "persona_id", "sample")
"""The key of a conversation within a cell."""


def table_rows(table: str, rows: Iterable[Mapping[str, object]]) -> pl.DataFrame:
    """Make rows a frame with a table's column types, also when there are no rows. Rows may be made
    as they are read: they are kept by column, because a mapping for each takes much more memory.
    """
    schema = {column: kind.dtype for column, kind in SCHEMAS[table].columns().items()}
    columns: dict[str, list[object]] = {column: [] for column in schema}
    for row in rows:
        for column, values in columns.items():
            values.append(row.get(column))
    types = pl.DataFrame(schema=schema).to_arrow().schema
    # Lists by way of polars alone take four times as long.
    return pl.DataFrame(pl.from_arrow(pa.table(columns, schema=types)), schema=schema)


def pair_key(cell: Cell, pair: tuple[str, str]) -> dict[str, object]:
    """The key columns of a row that is about a pair, given as (task_id, persona_id)."""
    task_id, persona_id = pair
    return {
        "iteration": cell.iteration,
        "split": cell.split,
        "task_id": task_id,
        "persona_id": persona_id,
    }


def sample_key(cell: Cell, conversation: Conversation) -> dict[str, object]:
    """The key columns of a row that is about a conversation."""
    return {**pair_key(cell, conversation.pair.key), "sample": conversation.sample}


def pairs_from_rows(tasks: pl.DataFrame, personas: pl.DataFrame) -> list[Pair]:
    """Every task with every persona, in the order of their ids."""
    people = personas_from_rows(personas)
    return [
        Pair(
            Task(task["task_id"], task["text"], task["kind"], tuple(task.get("options") or ())),
            persona,
        )
        for task in tasks.sort("task_id").iter_rows(named=True)
        for persona in people
    ]


def personas_from_rows(rows: pl.DataFrame) -> list[Persona]:
    """The people of a table, in the order of their ids."""
    return [
        Persona(
            row["persona_id"],
            row["name"] or "",
            row["text"],
            tuple(row.get("statements") or ()),
            bool(row.get("third_person")),
        )
        for row in rows.sort("persona_id").iter_rows(named=True)
    ]


def gold_texts(gold_responses: pl.DataFrame) -> dict[tuple[str, str], str]:
    """The gold responses that can be compared with, by (task_id, persona_id)."""
    comparable = gold_responses.filter(pl.col("exclusion").is_null())
    rows = comparable.select("task_id", "persona_id", "text").iter_rows()
    return {(task, persona): text for task, persona, text in rows}


def conversation_rows(
    cell: Cell, policy: str, conversations: Iterable[Conversation]
) -> pl.DataFrame:
    """Rows of `conversations`; `policy` is the version of the questioner."""
    return table_rows(
        "conversations",
        (
            {
                **sample_key(cell, c),
                "policy": policy,
                "roleplayer": c.roleplayer,
                "questions": c.questions,
                "truncated": c.truncated,
                "answers": c.answers,
                "question_rate": question_rate(c.questions),
                "ineligibility": ineligibility(c),
            }
            for c in conversations
        ),
    )


def conversations_from_rows(rows: pl.DataFrame, pairs: Sequence[Pair]) -> list[Conversation]:
    """Conversations, ordered by pair and sample."""
    by_key = {pair.key: pair for pair in pairs}
    columns = (*SAMPLE, "roleplayer", "ineligibility", "questions", "truncated", "answers")
    return [
        Conversation(
            by_key[task, persona],
            sample,
            roleplayer,
            *map(tuple, turns),
            refused=reason == Ineligibility.REFUSED,
        )
        for task, persona, sample, roleplayer, reason, *turns in rows.sort(SAMPLE)
        .select(columns)
        .iter_rows()
    ]


def audited_rows(
    cell: Cell, kinds: Mapping[str, str], audited: Iterable[AuditedReply]
) -> pl.DataFrame:
    """Rows of `roleplayer_audit`; `kinds` are how each roleplayer replies, by its label."""
    return table_rows(
        "roleplayer_audit",
        [
            {
                **sample_key(cell, a.conversation),
                "turn": a.turn,
                "roleplayer": a.conversation.roleplayer,
                "replies": kinds[a.conversation.roleplayer],
                "question": a.question,
                "reply": a.reply,
                "faults": a.faults,
                "statement": a.statement,
                "earlier": a.earlier,
                "unsupported": a.unsupported,
                "verbatim": a.verbatim,
                "log_prob": a.scores and a.scores.with_persona,
                "log_prob_without": a.scores and a.scores.without_persona,
                "tokens": a.scores and a.scores.tokens,
            }
            for a in audited
        ],
    )


def gold_log_prob_rows(cell: Cell, scores: Iterable[GoldLogProb]) -> pl.DataFrame:
    """Rows of `gold_log_probs`."""
    return table_rows(
        "gold_log_probs",
        (
            {
                **pair_key(cell, s.pair.key),
                "sample": s.sample,
                "condition": s.condition,
                "heard_persona_id": s.heard_persona_id,
                "log_prob": s.log_prob,
                "tokens": s.tokens,
                "choice_log_prob": s.choice_log_prob,
                "chosen": s.chosen,
            }
            for s in scores
        ),
    )


def gold_log_probs_from_rows(rows: pl.DataFrame, pairs: Sequence[Pair]) -> list[GoldLogProb]:
    """Scores of gold responses."""
    by_key = {pair.key: pair for pair in pairs}
    columns = (
        *("condition", "sample", "heard_persona_id"),
        *("log_prob", "tokens", "choice_log_prob", "chosen"),
    )
    return [
        GoldLogProb(by_key[task, persona], Condition(condition), *values)
        for task, persona, condition, *values in rows.select(
            "task_id", "persona_id", *columns
        ).iter_rows()
    ]


def selected_rows(cell: Cell, selected: Iterable[Selected]) -> pl.DataFrame:
    """Rows of `best_conversations`."""
    return table_rows(
        "best_conversations",
        (
            {
                **sample_key(cell, s.conversation),
                "rank": s.rank,
                "value": s.value,
                "log_prob": s.log_prob,
            }
            for s in selected
        ),
    )


def regularization_rows(cell: Cell, responses: Iterable[RegularizationResponse]) -> pl.DataFrame:
    """Rows of `regularization_responses`."""
    return table_rows(
        "regularization_responses",
        (
            {**sample_key(cell, r.conversation), "text": r.text, "truncated": r.truncated}
            for r in responses
        ),
    )


def regularization_from_rows(
    rows: pl.DataFrame, conversations: Iterable[Conversation]
) -> list[RegularizationResponse]:
    """What is learnt to be answered after these conversations."""
    by_key = {c.key: c for c in conversations}
    return [
        RegularizationResponse(by_key[task, persona, sample], text, truncated)
        for task, persona, sample, text, truncated in rows.select(
            *SAMPLE, "text", "truncated"
        ).iter_rows()
        if (task, persona, sample) in by_key
    ]


def response_rows(cell: Cell, responses: Iterable[Response]) -> pl.DataFrame:
    """Rows of `responses`."""
    return table_rows(
        "responses",
        (
            {
                **pair_key(cell, r.pair.key),
                "sample": r.sample,
                "arm": r.arm,
                "asker": r.players.asker,
                "answerer": r.players.answerer,
                "turns": r.turns,
                "text": r.text,
                "truncated": r.truncated,
                "refused": r.refused,
            }
            for r in responses
        ),
    )


def responses_from_rows(rows: pl.DataFrame, pairs: Sequence[Pair]) -> list[Response]:
    """Responses, ordered by arm and pair."""
    by_key = {pair.key: pair for pair in pairs}
    return [
        Response(
            by_key[row["task_id"], row["persona_id"]],
            Arm(row["arm"]),
            Players(row["asker"], row["answerer"]),
            *(row[column] for column in ("sample", "turns", "text", "truncated", "refused")),
        )
        for row in rows.sort("arm", "task_id", "persona_id").iter_rows(named=True)
    ]


def heard_rows(cell: Cell, traced: Iterable[tuple[Response, Heard]]) -> pl.DataFrame:
    """Rows of `heard_statements`."""
    return table_rows(
        "heard_statements",
        (
            {
                **pair_key(cell, response.pair.key),
                "arm": response.arm,
                "turn": heard.statement.turn,
                "position": heard.statement.position,
                "statement": heard.statement.text,
                "terms": sorted(heard.terms),
                "used": heard.used,
                "used_by_chance": heard.used_by_chance,
                "log_prob": heard.log_prob,
                "log_prob_without": heard.log_prob_without,
                "tokens": heard.tokens,
            }
            for response, heard in traced
        ),
    )


def heard_from_rows(rows: pl.DataFrame) -> dict[tuple[str, str, str], list[Heard]]:
    """What was heard before each response, by (arm, task_id, persona_id)."""
    found: dict[tuple[str, str, str], list[Heard]] = {}
    columns = ("used", "used_by_chance", "log_prob", "log_prob_without", "tokens")
    for row in rows.sort("turn", "position").iter_rows(named=True):
        statement = Statement(row["turn"], row["position"], row["statement"])
        heard = Heard(statement, frozenset(row["terms"]), *(row[column] for column in columns))
        found.setdefault((row["arm"], row["task_id"], row["persona_id"]), []).append(heard)
    return found
