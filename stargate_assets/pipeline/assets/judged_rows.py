"""Between the rows of `judge_audit` and `judgements` and the objects that the method works on."""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from stargate_assets.method.arms import Reference, Response
from stargate_assets.method.audits import Audit, Audited, audit_accuracy
from stargate_assets.method.judging import Comparison, Judgement, Verdict
from stargate_assets.method.simulation import Cell
from stargate_assets.method.statistics import Estimate
from stargate_assets.method.text import words
from stargate_assets.method.win_rates import Judged
from stargate_assets.pipeline.assets.rows import pair_key, table_rows


def audit_rows(
    cell: Cell, judge: str, audited: Iterable[Audited], judgements: Iterable[Judgement]
) -> pl.DataFrame:
    """Rows of `judge_audit`, of the Judge with this label."""
    return table_rows(
        "judge_audit",
        [
            {
                **pair_key(cell, a.comparison.pair.key),
                "judge": judge,
                "audit": a.audit,
                "other_persona_id": a.other_persona_id,
                **_judgement_columns(judgement),
            }
            for a, judgement in zip(audited, judgements, strict=True)
        ],
    )


def accuracies_from_rows(judge_audit: pl.DataFrame, judge: str) -> dict[Audit, Estimate]:
    """The accuracy of the Judge with this label in each audit in which it has a verdict."""
    found: dict[Audit, Estimate] = {}
    for audit in Audit:
        rows = judge_audit.filter(judge=judge, audit=audit).drop_nulls("verdict")
        accuracy = audit_accuracy(
            {
                (task, persona): Verdict(verdict)
                for task, persona, verdict in rows.select(
                    "task_id", "persona_id", "verdict"
                ).iter_rows()
            }
        )
        if accuracy is not None:
            found[audit] = accuracy
    return found


def judgement_rows(
    cell: Cell,
    judge: str,
    compared: Iterable[tuple[Response, Reference, Comparison]],
    judgements: Iterable[Judgement],
) -> pl.DataFrame:
    """Rows of `judgements`, of the Judge with this label."""
    return table_rows(
        "judgements",
        [
            {
                **pair_key(cell, response.pair.key),
                "arm": response.arm,
                "reference": reference,
                "judge": judge,
                "turns": response.turns,
                "kind": response.pair.task.kind,
                **_judgement_columns(judgement),
                "comparison_first": judgement.comparison_first,
                "comparison_second": judgement.comparison_second,
                "words": len(words(response.text)),
                "reference_words": len(words(comparison.reference or "")),
            }
            for (response, reference, comparison), judgement in zip(
                compared, judgements, strict=True
            )
        ],
    )


def _judgement_columns(judgement: Judgement) -> dict[str, object]:
    """What `judge_audit` and `judgements` say of a judgement."""
    return {
        "verdict": judgement.verdict,
        "unscored": judgement.unscored,
        "preference": judgement.preference,
        "verdict_first": judgement.first,
        "verdict_second": judgement.second,
    }


def judged_from_rows(rows: pl.DataFrame) -> list[Judged]:
    """Judgements of one arm against one reference by one Judge, as win rates want them."""

    def judged(row: Mapping[str, Any]) -> Judged:
        found = (row[c] for c in ("verdict", "verdict_first", "verdict_second"))
        verdict, first, second = (None if v is None else Verdict(v) for v in found)
        return Judged(
            (row["task_id"], row["persona_id"]),
            Judgement(verdict=verdict, first=first, second=second),
            *(row[c] for c in ("words", "reference_words", "turns", "kind")),
        )

    return [judged(row) for row in rows.iter_rows(named=True)]
