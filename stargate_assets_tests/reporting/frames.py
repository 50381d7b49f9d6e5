"""An experiment that never ran: its tables as the contract has them, drawn by a seed."""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl

from stargate_assets.config.data_set import DATA_TABLES
from stargate_assets.config.experiment import Experiment
from stargate_assets.method.answer_metrics import ANSWER_METRICS
from stargate_assets.method.arms import Reference, arms_of, judged_arms
from stargate_assets.method.judging import Verdict
from stargate_assets.method.plan import SPLITS, planned_steps
from stargate_assets.pipeline.assets.lineage import planned_tables
from stargate_assets.pipeline.assets.rows import table_rows
from stargate_assets.pipeline.assets.versions import (
    cell_versions,
    policy_checkpoint,
    report_version,
)
from stargate_assets.reporting.metrics import is_share
from stargate_assets.reporting.raters import digest_of, stored_comparisons
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.storage.completions import UsageRow
from stargate_assets.storage.schemas import SCHEMAS
from stargate_assets.storage.warehouse import Warehouse

TASKS = (
    ("How can I sleep better?", "general", "health"),
    ("What should I cook for a small dinner this weekend?", "specific", "food"),
    ("Can you plan three days off for me?", "specific", "travel"),
    ("How do I learn a language as an adult?", "specific", "learning"),
    ("What is a good way to start running?", "specific", "sport"),
    ("How do I keep plants alive?", "general", "home"),
    ("How should I ask for a raise?", "specific", "work"),
    ("Help me write a toast.", "specific", "family"),
)
PEOPLE = (
    ("Ineke", "I repair church organs in Groningen. My knees are bad. I sing alto on Thursdays."),
    ("Tomás", "I drive a night bus in Córdoba. I have two daughters. I cook with what is left."),
    ("Amara", "I teach chemistry in Enugu. I run before dawn. I owe my brother money."),
    ("Jun", "I left a bank in Osaka to grow tea. I live alone. I am afraid of flying."),
)
QUESTIONS = (
    "What does an ordinary day look like for you?",
    "Who else is this for?",
    "What have you tried before, and how did it go?",
    "Here are some ideas you may like.",
)
REASONS = ("not_a_question", "truncated", "persona_copied")
LIFT = {
    "method": 0.2,
    "base_answers": 0.06,
    "base_asks": 0.1,
    "no_questions": -0.1,
    "instructed": 0.04,
}
JUDGE = "SmolLM2-135M-Instruct"
AUDITS = {"gold": 0.91, "own_text": 0.87}
"""The Judge's accuracy in each audit."""
BY_PEOPLE = ("chats", "human_judgements")
"""Tables that no run makes."""
Row = dict[str, Any]
Pair = tuple[str, str, str]


def experiment(**changes: object) -> Experiment:
    stated: dict[str, object] = {
        "data_set": "everyday_mini",
        "iterations": 2,
        "questioner": {"model": "bundled"},
        "roleplayers": [{"name": "chooser", "model": {"model": "bundled"}, "replies": "chosen"}],
        "judge": {"name": JUDGE, "model": {"model": "bundled"}, "method": "fit"},
    }
    return Experiment.model_validate(stated | changes)


def pairs_of(split: str, tasks: int, people: int) -> list[Pair]:
    return [(split, f"{split}-t{t}", f"{split}-p{p}") for t in range(tasks) for p in range(people)]


def tables(
    name: str = "embedded",
    *,
    tasks: int = 8,
    people: int = 4,
    samples: int = 2,
    said: Sequence[str] = QUESTIONS,
    persona: str | None = None,
    seed: int = 0,
) -> ExperimentTables:
    """Policies 0 to 2, evaluated on test; trained in 0|train_a and 1|train_b. `persona` replaces
    the first person's text.
    """
    draw = random.Random(seed)
    rows: dict[str, list[Row]] = {table: [] for table in SCHEMAS if table not in BY_PEOPLE}
    for split in ("train_a", "train_b", "test"):
        for t in range(tasks):
            text, kind, domain = TASKS[t % len(TASKS)]
            text = text if t < len(TASKS) else f"{text} ({t})"
            text = text if split == "test" else f"{text} ({split})"
            rows["tasks"].append(
                {
                    "split": split,
                    "task_id": f"{split}-t{t}",
                    "text": text,
                    "kind": kind,
                    "domain": domain,
                }
            )
        for p in range(people):
            who, life = PEOPLE[p % len(PEOPLE)]
            who = who if split == "test" else f"{who} of {split}"
            rows["personas"].append(
                {
                    "split": split,
                    "persona_id": f"{split}-p{p}",
                    "name": who if p < len(PEOPLE) else f"{who} {p}",
                    "text": persona if persona and p == 0 else life,
                    "source": "file",
                }
            )
        for number, pair in enumerate(pairs_of(split, tasks, people)):
            rows["gold_responses"].append(
                {
                    **_key(pair),
                    "text": f"Since your days are full, start small. ({number})",
                    "source": "file",
                    "exclusion": "refused" if split == "test" and number == 3 else None,
                }
            )
    cells = [(0, "test"), (0, "train_a"), (1, "test"), (1, "train_b"), (2, "test")]
    for iteration, split in cells:
        for pair in pairs_of(split, tasks, people):
            _converse(rows, draw, name, iteration, pair, samples, said)
        if split == "test":
            for pair in pairs_of(split, tasks, people):
                _audit(rows, draw, iteration, pair)
                _judge(rows, draw, iteration, pair, said)
            _count(rows, draw, iteration, tasks * people)
            _estimate(rows, iteration, tasks * people)
        else:
            rows["checkpoints"].append(
                {
                    "iteration": iteration,
                    "split": split,
                    "path": f"checkpoints/{name}/{iteration}-{split}",
                    "sha256": hashlib.sha256(f"{name} {iteration}".encode()).hexdigest(),
                    "question_examples": 28,
                    "answer_examples": 26,
                    "preference_pairs": 6,
                    "steps": 17,
                    "losses": [2.4 - 0.1 * iteration - 0.05 * step for step in range(14)],
                    "preference_losses": [0.69, 0.64, 0.61 - 0.01 * iteration],
                }
            )
    frames = {table: table_rows(table, of_table) for table, of_table in rows.items()}
    written = pl.DataFrame(
        [
            {
                "schema_name": name,
                "table_name": "conversations",
                "slice": f"{iteration}|{split}",
                "version": "0123456789abcdef",
                "rows": tasks * people * samples,
                "written_at": datetime(2026, 11, 24, 13, 0, tzinfo=UTC),
            }
            for iteration, split in cells
        ]
    )
    return ExperimentTables(name, experiment(), frames, written, pl.DataFrame(usage_rows(name)))


Faults = Callable[[int, int, str], list[str]]
"""The faults of the replies in a conversation: by policy, sample and task."""


def audited(tables: ExperimentTables, faults: Faults) -> ExperimentTables:
    """The same with an audit of the replies on the test split."""
    rows = [
        {
            **{k: c[k] for k in ("iteration", "split", "task_id", "persona_id", "sample")},
            "turn": turn,
            "roleplayer": c["roleplayer"],
            "replies": "generated",
            "question": question,
            "reply": reply,
            "faults": faults(c["iteration"], c["sample"], c["task_id"]),
            "unsupported": [],
            "verbatim": False,
        }
        for c in tables.tested("conversations").iter_rows(named=True)
        for turn, (question, reply) in enumerate(zip(c["questions"], c["answers"], strict=True))
    ]
    audit = table_rows("roleplayer_audit", rows)
    return replace(tables, frames={**tables.frames, "roleplayer_audit": audit})


def with_other_judge(
    tables: ExperimentTables, verdict: pl.Expr, label: str = "oak"
) -> ExperimentTables:
    """The same with a second Judge, whose verdict on each comparison is that expression."""
    stated = {"name": label, "model": {"engine": "scripted", "model": "any"}}
    added = {"judgements": {"verdict": verdict}, "win_rates": {"headline": pl.lit(value=False)}}
    frames = {
        table: pl.concat(
            [frame, frame.with_columns(judge=pl.lit(label), **added.get(table, {}))]
            if table in ("judge_audit", *added)
            else [frame]
        )
        for table, frame in tables.frames.items()
    }
    return replace(tables, experiment=experiment(other_judges=[stated]), frames=frames)


def store(
    tables: ExperimentTables, warehouse: Warehouse, data_versions: Mapping[str, str] | None = None
) -> None:
    """Write the tables as if the plan had run."""
    name, experiment = tables.name, tables.experiment
    for table in DATA_TABLES:
        for split in SPLITS:
            where = {"split": split}
            rows = tables.frame(table).filter(**where)
            version = (data_versions or {}).get(table, "1")
            warehouse.write(experiment.data_set, table, where, rows, version)
    data = warehouse.materializations(experiment.data_set)
    for step in planned_steps(experiment.iterations):
        where = {"iteration": step.cell.iteration, "split": step.cell.split}
        policy = policy_checkpoint(warehouse, name, step.cell)
        versions = cell_versions(experiment, step.cell, policy, data)
        for table in planned_tables(step.purpose, experiment):
            rows = tables.frame(table).filter(**where)
            warehouse.write(name, table, where, rows, versions[table])
    warehouse.write(name, "report", {}, tables.frame("report"), report_version(warehouse, name))


def store_chat(warehouse: Warehouse, name: str) -> None:
    """Keep a conversation with policy 2."""
    row: Row = {
        "chat_id": "c1",
        "iteration": 2,
        "policy": hashlib.sha256(f"{name} 1".encode()).hexdigest(),
        "task": TASKS[0][0],
        "name": "Ana",
        "persona_id": None,
        "roleplayer": None,
        "questions": [QUESTIONS[0]],
        "answers": ["I work at night."],
        "unanswered": QUESTIONS[3],
        "response": "Sleep by day.",
        "truncated": False,
        "held_at": datetime(2026, 11, 28, 13, 0),
    }
    warehouse.write(name, "chats", {"chat_id": "c1"}, table_rows("chats", [row]), row["policy"])


def human_judgements(
    tables: ExperimentTables, rater: str, verdict: Callable[[bool], Verdict]
) -> pl.DataFrame:
    """What a rater says of policy 2 against policy 0: of each pair, by whether it stands left."""
    rows = [
        {
            "iteration": 2,
            "split": "test",
            **dict(zip(("task_id", "persona_id"), comparison.pair.key, strict=True)),
            "reference_iteration": 0,
            "rater": rater,
            "texts": digest_of(comparison),
            "verdict": verdict(place % 2 == 0),
            "response_first": place % 2 == 0,
            "reason": None,
            "seconds": 20.0,
            "judged_at": datetime(2026, 11, 28, 14, place),
        }
        for place, comparison in enumerate(stored_comparisons(tables, (0, 2)))
    ]
    return table_rows("human_judgements", rows)


def store_ratings(warehouse: Warehouse, tables: ExperimentTables) -> None:
    """Keep what two raters say."""
    rated = [human_judgements(tables, r, lambda first: Verdict.WIN) for r in ("Ana", "Bea")]
    where = {"split": "test"}
    warehouse.write(tables.name, "human_judgements", where, pl.concat(rated), "1")


def usage_rows(name: str) -> list[UsageRow]:
    return [
        UsageRow(
            name, "0|test", "questioner", "bundled", "chat", 900, 210_000, 18_000, 300.0, None
        ),
        UsageRow(name, "0|test", "scorer", "bundled", "score", 400, 90_000, 9_000, 120.0, None),
        UsageRow(name, "0|test", "judge", "gpt-4", "chat", 64, 30_000, 6_400, 60.0, 1.26),
    ]


def _converse(
    rows: dict[str, list[Row]],
    draw: random.Random,
    name: str,
    iteration: int,
    pair: Pair,
    samples: int,
    said: Sequence[str],
) -> None:
    turns = draw.randint(1, 2)
    scored: list[tuple[float, int]] = []
    for sample in range(samples):
        key = {"iteration": iteration, **_key(pair), "sample": sample}
        asks = draw.random() < 0.3 + 0.3 * iteration
        reason = None if asks else draw.choice(REASONS)
        rows["conversations"].append(
            {
                **key,
                "policy": hashlib.sha256(f"{name} {iteration - 1}".encode()).hexdigest()
                if iteration
                else "base",
                "roleplayer": "chooser",
                "questions": [draw.choice(said) for _ in range(turns)],
                "truncated": [False] * turns,
                "answers": [PEOPLE[draw.randrange(4)][1] for _ in range(turns)],
                "question_rate": 1.0 if asks else 0.5,
                "ineligibility": reason,
            }
        )
        score = -320.0 + 7 * iteration + draw.gauss(0, 9)
        if pair[0] == "test" or reason is None:
            for condition in ("experimental", "random") if pair[0] == "test" else ("experimental",):
                lift = 0.0 if condition == "experimental" else -6.0
                rows["gold_log_probs"].append(
                    {**key, "condition": condition, "heard_persona_id": pair[2],
                     "log_prob": score + lift, "tokens": 90}
                )  # fmt: skip
        if pair[0] != "test" and reason is None:
            scored.append((score, sample))
    if scored:
        score, sample = max(scored)
        key = {"iteration": iteration, **_key(pair), "sample": sample}
        rows["best_conversations"].append({**key, "rank": 1, "value": score, "log_prob": score})
        rows["regularization_responses"].append(
            {**key, "text": "Start with ten minutes.", "truncated": draw.random() < 0.1}
        )


def _judge(
    rows: dict[str, list[Row]], draw: random.Random, iteration: int, pair: Pair, said: Sequence[str]
) -> None:
    arms = list(arms_of(iteration))
    for arm in arms:
        key = {"iteration": iteration, **_key(pair), "arm": arm}
        asker = {"method": iteration, "base_answers": iteration, "base_asks": 0, "instructed": 0}
        rows["responses"].append(
            {
                **key,
                "asker": asker.get(arm),
                "answerer": 0 if arm in ("base_answers", "instructed") else iteration,
                "sample": None if arm == "no_questions" else 0,
                "turns": 0 if arm == "no_questions" else 1,
                "text": f"You could start small, {draw.choice(said)}",
                "truncated": draw.random() < 0.05,
                "refused": False,
            }
        )
        if arm != "no_questions":
            rows["heard_statements"].append(
                {
                    **key,
                    "turn": 0,
                    "position": 1,
                    "statement": "My knees are bad.",
                    "terms": ["knee"],
                    "used": iteration > 0,
                    "used_by_chance": False,
                    "log_prob": -90.0,
                    "log_prob_without": -90.5 - iteration,
                    "tokens": 30,
                }
            )
        references = [r for r, judged in judged_arms(iteration) if judged == arm]
        if not references:
            continue
        luck = draw.random()
        verdict = "win" if luck < 0.45 + LIFT[arm] * iteration / 1.5 else "loss"
        unscored = "unparsed" if luck > 0.98 else None
        rows["judgements"] += [
            {
                **key,
                "reference": reference,
                "turns": 1,
                "kind": "specific",
                "verdict": None if unscored else verdict,
                "unscored": unscored,
                "judge": JUDGE,
                "preference": round(luck - 0.5, 2),
                "verdict_first": verdict,
                "verdict_second": verdict,
                "comparison_first": None,
                "comparison_second": None,
                "words": 40,
                "reference_words": 38,
            }
            for reference in references
        ]


def _audit(rows: dict[str, list[Row]], draw: random.Random, iteration: int, pair: Pair) -> None:
    for audit, accuracy in AUDITS.items():
        verdict = "win" if draw.random() < accuracy else "loss"
        rows["judge_audit"].append(
            {
                "iteration": iteration,
                **_key(pair),
                "judge": JUDGE,
                "audit": audit,
                "other_persona_id": "test-p0" if pair[2] != "test-p0" else "test-p1",
                "verdict": verdict,
                "unscored": None,
                "preference": 0.5 if verdict == "win" else -0.5,
                "verdict_first": verdict,
                "verdict_second": verdict,
            }
        )


def _count(rows: dict[str, list[Row]], draw: random.Random, iteration: int, pairs: int) -> None:
    dimensions = [
        ("all", ""),
        ("turns", "1"),
        ("turns", "2"),
        ("kind", "specific"),
        ("kind", "general"),
    ]
    for reference, arm in judged_arms(iteration):
        lift = LIFT[arm] if reference is Reference.BASE else LIFT[arm] - LIFT["base_asks"]
        for dimension, value in dimensions:
            rate = min(0.95, 0.45 + lift * iteration / 1.5 + draw.gauss(0, 0.02))
            part = pairs if dimension == "all" else pairs // 2
            wins = round(rate * part)
            rows["win_rates"].append(
                {
                    "iteration": iteration, "split": "test", "arm": arm,
                    "reference": reference, "dimension": dimension, "value": value,
                    "judge": JUDGE, "headline": True, "pairs": part,
                    "wins": wins - 1, "losses": part - wins, "ties": 0, "unscored": 1,
                    "win_rate": rate, "low": max(0.0, rate - 0.13), "high": min(1.0, rate + 0.12),
                    "naive_low": rate - 0.08, "naive_high": rate + 0.08,
                    "order_consistency": 0.81, "position_bias": 0.07, "longer_wins": 0.64,
                    **{
                        f"{audit}_audit{end}": accuracy + by
                        for audit, accuracy in AUDITS.items()
                        for end, by in (("", 0.0), ("_low", -0.13), ("_high", 0.09))
                    },
                }
            )  # fmt: skip


def _estimate(rows: dict[str, list[Row]], iteration: int, pairs: int) -> None:
    levels = {
        "question_rate": (0.23 + 0.35 * iteration, 0.08, 0.35 * iteration),
        "experimental": (-322.9 + 8 * iteration, 13.0, 8.0 * iteration),
        "random": (-327.1 + iteration, 13.0, 1.0 * iteration),
        "negative_control": (-326.0, 14.0, None),
        "positive_control": (-225.8, 10.0, None),
        "answers_that_ask": (0.2 + 0.3 * iteration, 0.1, 0.3 * iteration),
        "heard_facts": (0.25 + 0.2 * iteration, 0.12, 0.2 * iteration),
        "heard_facts_by_chance": (0.1, 0.05, 0.0),
        "heard_facts_nats": (0.5 + iteration, 0.6, 1.0 * iteration),
        "unheard_facts": (0.12 - 0.05 * iteration, 0.02, -0.05 * iteration),
        "unheard_facts_by_chance": (0.06 - 0.02 * iteration, 0.02, -0.02 * iteration),
    }
    arms = list(arms_of(iteration))
    for metric, arm in ((m, a) for m in levels for a in (arms if m in ANSWER_METRICS else [None])):
        mean, around, gain = levels[metric]
        gains = gain is not None and (iteration > 0 or arm not in (None, "method"))
        wide, top = around / 6, 1.0 if is_share(metric) else mean + around
        if arm == "no_questions" and metric.startswith("heard"):
            continue
        rows["report"].append(
            {
                "split": "test", "iteration": iteration, "arm": arm, "metric": metric,
                "mean": mean, "low": mean - around, "high": min(mean + around, top),
                "gain": gain if gains else None,
                "gain_low": gain - wide if gains else None,
                "gain_high": gain + wide if gains else None, "pairs": pairs,
            }
        )  # fmt: skip


def _key(pair: Pair) -> Row:
    return dict(zip(("split", "task_id", "persona_id"), pair, strict=True))
