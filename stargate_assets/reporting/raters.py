"""What people say of the policies' responses, who compared them blind: how often they prefer which,
and how far they agree with each other and with the Judge.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import polars as pl

from stargate_assets.config.digest import digest_text
from stargate_assets.method.arms import BASE, Arm
from stargate_assets.method.conversation import Pair, Persona, Task
from stargate_assets.method.judging import Comparison, Verdict
from stargate_assets.method.raters import (
    PairVerdicts,
    Rating,
    raters_agree,
    raters_win_rate,
    verdicts_of,
)
from stargate_assets.method.statistics import clustered_share
from stargate_assets.method.win_rates import WORTH
from stargate_assets.reporting.judges import format_agreement
from stargate_assets.reporting.quality import NONE, Grid
from stargate_assets.reporting.tables import ExperimentTables
from stargate_assets.reporting.words import count, percent, plural, points

HUMAN_JUDGEMENTS = "human_judgements"
ALL = "all"
"""Raters together."""
Policies = tuple[int, int]
"""Two policies by number: the earlier, which is the reference, and the later."""
PREFERRED = "Preferred by people"
PREFERRED_LIVE = "Preferred by people who talked with both"
AGREEMENT = "Agreement of people"
EXPLAINED_NAMELESS = (
    "How often people who did not know which policy wrote which prefer the policy's response, a "
    "tie as half. Several verdicts on a pair are averaged. The interval is about other tasks and "
    "people like these, not about other raters. The judge's win rate is that on the same pairs."
)
EXPLAINED = (
    f"{EXPLAINED_NAMELESS} Left is how much more often what stood left is preferred, in points."
)
EXPLAINED_LIVE = (
    "How often people who talked with both policies, and did not know which was which, prefer the "
    "policy's answer, a tie as half. Each has answers of their own, which no judge and no other "
    "rater has seen, so there is no agreement."
)
AGREED = (
    "Agreement is the share of pairs with the same verdict, of those that both have judged; kappa "
    "is 0 where chance explains it, and 1 where all verdicts are the same."
)


def digest_of(comparison: Comparison) -> str:
    """What stands for the two texts of a comparison in `human_judgements`."""
    return digest_text(comparison.response or "", comparison.reference or "")


def digest_of_chats(chat_id: str, reference_chat_id: str) -> str:
    """What stands for two conversations of a rater there."""
    return digest_text(chat_id, reference_chat_id)


def stored_comparisons(tables: ExperimentTables, policies: Policies) -> list[Comparison]:
    """The later policy's response to each test pair against the earlier's, where both are there;
    each after its policy's own conversation. What a content filter stopped is None.
    """
    tasks = {
        row[0]: Task(*row)
        for row in tables.tested("tasks").select("task_id", "text", "kind").iter_rows()
    }
    people = {
        row[0]: Persona(row[0], row[1] or "", row[2])
        for row in tables.tested("personas").select("persona_id", "name", "text").iter_rows()
    }
    of_reference, of_policy = (_responses(tables, policy) for policy in policies)
    return [
        Comparison(Pair(tasks[key[0]], people[key[1]]), of_policy[key], of_reference[key])
        for key in sorted(of_policy.keys() & of_reference.keys())
    ]


def _responses(tables: ExperimentTables, policy: int) -> dict[tuple[str, str], str | None]:
    rows = tables.tested("responses").filter(iteration=policy, arm=Arm.METHOD)
    return {
        (task, person): None if refused else text
        for task, person, text, refused in rows.select(
            "task_id", "persona_id", "text", "refused"
        ).iter_rows()
    }


def ratings(tables: ExperimentTables) -> dict[Policies, list[Rating]]:
    """The verdicts on responses that are still those of the policies."""
    found: dict[Policies, list[Rating]] = {}
    rows = tables.tested(HUMAN_JUDGEMENTS)
    policies = rows.select("reference_iteration", "iteration").unique()
    for reference, policy in sorted(policies.iter_rows()):
        current = {
            (*c.pair.key, digest_of(c)): c
            for c in stored_comparisons(tables, (reference, policy))
            if None not in (c.response, c.reference)
        }
        of_both = rows.filter(iteration=policy, reference_iteration=reference)
        found[reference, policy] = [
            Rating(row["rater"], comparison, Verdict(row["verdict"]), row["response_first"])
            for row in of_both.sort("rater", "task_id", "persona_id").iter_rows(named=True)
            if (comparison := current.get((row["task_id"], row["persona_id"], row["texts"])))
        ]
    return {policies: of_both for policies, of_both in found.items() if of_both}


def live_ratings(tables: ExperimentTables) -> dict[Policies, list[Rating]]:
    """The verdicts of raters on what the policies have answered to themselves."""
    chats = {row["chat_id"]: row for row in tables.frame("chats").iter_rows(named=True)}
    rows = tables.tested(HUMAN_JUDGEMENTS).filter(pl.col("chat_id").is_not_null())
    found: dict[Policies, list[Rating]] = {}
    for row in rows.sort("rater", "task_id", "persona_id").iter_rows(named=True):
        chat, reference = chats[row["chat_id"]], chats[row["reference_chat_id"]]
        person = Persona(row["persona_id"], chat["name"], "")
        pair = Pair(Task(row["task_id"], chat["task"]), person)
        comparison = Comparison(pair, chat["response"], reference["response"])
        rating = Rating(row["rater"], comparison, Verdict(row["verdict"]), row["response_first"])
        found.setdefault((row["reference_iteration"], row["iteration"]), []).append(rating)
    return dict(sorted(found.items()))


def rater_grids(tables: ExperimentTables) -> list[Grid]:
    """A table of win rates by people, of those who read and of those who talked, and one of the
    agreement of the former; none where nobody has judged.
    """
    rated, live = ratings(tables), live_ratings(tables)
    judged = {policies: _judge_verdicts(tables, policies) for policies in rated}
    grids: list[Grid] = []
    head = ["rater", "policy", "against", "pairs", "won, tied, lost", "win rate", "left"]
    if rated:
        note = EXPLAINED + _count_left_out(tables, rated)
        preferred = _preference_rows(rated, judged)
        grids.append(Grid(PREFERRED, [*head, "the judge's"], preferred, note=note))
    if live:
        preferred = [row[: len(head)] for row in _preference_rows(live, {})]
        grids.append(Grid(PREFERRED_LIVE, head, preferred, note=EXPLAINED_LIVE))
    agreed = [
        [who, str(policies[1]), str(policies[0]), *cells]
        for policies, of_both in rated.items()
        for who, *cells in _agreement_rows(tables, of_both, judged[policies])
    ]
    if agreed:
        head = ["raters", "policy", "against", "pairs", "agreement", "kappa"]
        grids.append(Grid(AGREEMENT, head, agreed, note=AGREED))
    return grids


def _preference_rows(
    rated: Mapping[Policies, Sequence[Rating]], judged: Mapping[Policies, PairVerdicts]
) -> list[list[str]]:
    """Each rater's, and all raters' together, by policies; `judged` are the Judge's verdicts on the
    same, where it has any.
    """
    rows: list[list[str]] = []
    for policies, of_both in rated.items():
        by_judge = judged.get(policies, {})
        raters = list(dict.fromkeys(r.rater for r in of_both))
        names = [str(policies[1]), str(policies[0])]
        for rater in raters if len(raters) > 1 else ():
            of_rater = [r for r in of_both if r.rater == rater]
            rows.append([rater, *names, *_preference_cells(of_rater, by_judge)])
        shown = ALL if len(raters) > 1 else raters[0]
        rows.append([shown, *names, *_preference_cells(of_both, by_judge)])
    return rows


def _count_left_out(tables: ExperimentTables, rated: Mapping[Policies, Sequence[Rating]]) -> str:
    """A sentence about verdicts on stored responses that count no more, if there are any."""
    stored = tables.tested(HUMAN_JUDGEMENTS).filter(pl.col("chat_id").is_null())
    left_out = stored.height - sum(map(len, rated.values()))
    if not left_out:
        return ""
    return (
        f" {plural(left_out, 'verdict')} on responses that the policies no longer give "
        f"{'is' if left_out == 1 else 'are'} left out."
    )


def compared_rows(tables: ExperimentTables, policy: int) -> list[list[str]]:
    """What people say of one policy's stored responses, all raters together: whom it is held
    against, how many raters, pairs, win rate, the Judge's win rate, and agreement with the Judge.
    """
    rows: list[list[str]] = []
    for policies, of_both in _of_policy(ratings(tables), policy):
        judged = _judge_verdicts(tables, policies)
        raters = sorted({r.rater for r in of_both})
        agreement = raters_agree([verdicts_of(of_both, r) for r in raters], judged)
        pairs, _, win_rate, _, by_judge = _preference_cells(of_both, judged)
        head = [str(policies[0]), count(len(raters)), pairs]
        rows.append([*head, win_rate, by_judge, *format_agreement(agreement)])
    return rows


def compared_live_rows(tables: ExperimentTables, policy: int) -> list[list[str]]:
    """What people say of one policy whom they have talked with, all raters together: whom it is
    held against, how many raters, pairs and win rate.
    """
    rows: list[list[str]] = []
    for policies, of_both in _of_policy(live_ratings(tables), policy):
        pairs, _, win_rate, *_ = _preference_cells(of_both, {})
        rows.append([str(policies[0]), count(len({r.rater for r in of_both})), pairs, win_rate])
    return rows


def _of_policy(
    rated: Mapping[Policies, Sequence[Rating]], policy: int
) -> list[tuple[Policies, Sequence[Rating]]]:
    return [(policies, of_both) for policies, of_both in rated.items() if policies[1] == policy]


COMPARED_LIVE = ("against", "raters", "pairs", "win rate")
COMPARED = (*COMPARED_LIVE, "the judge's", "agreement with judge", "kappa")
BY_PEOPLE = (
    (PREFERRED, COMPARED, compared_rows),
    (PREFERRED_LIVE, COMPARED_LIVE, compared_live_rows),
)
"""What all raters together say: a table's title and columns, and what makes its rows."""


def nameless_grids(tables: ExperimentTables, policy: int) -> list[Grid]:
    """What people say of one policy, without who they are: for those who publish it."""
    notes = {PREFERRED: f"{EXPLAINED_NAMELESS} {AGREED}", PREFERRED_LIVE: EXPLAINED_LIVE}
    grids = [
        Grid(title, [*head], rows_of(tables, policy), note=notes[title])
        for title, head, rows_of in BY_PEOPLE
    ]
    return [grid for grid in grids if grid.rows]


def _preference_cells(of_both: Sequence[Rating], judged: PairVerdicts) -> list[str]:
    """Pairs, verdicts, win rate, the preference for the left, and the Judge's win rate."""
    found = raters_win_rate(of_both)
    pairs = {r.comparison.pair.key for r in of_both}
    same = {pair: WORTH[judged[pair]] for pair in pairs & judged.keys()}
    by_judge = clustered_share(same) if same else None
    return [
        count(len(pairs)),
        ", ".join(map(count, (found.wins, found.ties, found.losses))),
        _format_share(found.win_rate, found.low, found.high),
        NONE if found.position_bias is None else points(found.position_bias),
        _format_share(by_judge.mean, by_judge.low, by_judge.high) if by_judge else NONE,
    ]


def _agreement_rows(
    tables: ExperimentTables, of_both: Sequence[Rating], judged: PairVerdicts
) -> list[list[str]]:
    """Each two raters, and each rater and all of them with the Judge."""
    judge = tables.experiment.judge
    by_rater = {r: verdicts_of(of_both, r) for r in dict.fromkeys(r.rater for r in of_both)}
    compared = [
        (one, other, [by_rater[one]], by_rater[other]) for one, other in combinations(by_rater, 2)
    ]
    if judge is not None:
        compared += [(rater, judge.label, [of], judged) for rater, of in by_rater.items()]
        if len(by_rater) > 1:
            compared.append((ALL, judge.label, list(by_rater.values()), judged))
    return [
        [f"{one} and {other}", count(pairs), *format_agreement(raters_agree(verdicts, others))]
        for one, other, verdicts, others in compared
        if (pairs := len({pair for of in verdicts for pair in of} & others.keys()))
    ]


def _judge_verdicts(tables: ExperimentTables, policies: Policies) -> PairVerdicts:
    """The headline Judge's, who compares with the base model alone."""
    reference, policy = policies
    if reference != BASE:
        return {}
    rows = tables.headline("judgements").filter(iteration=policy, arm=Arm.METHOD)
    return {
        (task, person): Verdict(verdict)
        for task, person, verdict in rows.drop_nulls("verdict")
        .select("task_id", "persona_id", "verdict")
        .iter_rows()
    }


def _format_share(share: float | None, low: float | None, high: float | None) -> str:
    if share is None or low is None or high is None:
        return NONE
    return f"{percent(share)} ({percent(low)} to {percent(high)})"
