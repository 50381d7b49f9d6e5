"""What each table is made from: the tables that it reads, the prompts that it uses, and the number
of its rules.

Dagster's dependencies and the versions of tables are both made from these entries.
"""

from collections.abc import Callable
from dataclasses import dataclass

from stargate_assets.config.data_set import DATA_TABLES, DataSet
from stargate_assets.config.experiment import Experiment
from stargate_assets.method.arms import Arm
from stargate_assets.method.judging import JudgeMethod
from stargate_assets.method.plan import TEST_SPLIT, TRAIN_SPLITS, Purpose

Prompts = Callable[[Experiment, str], tuple[str, ...]]
"""The templates of `method/prompts/` that an experiment uses on a split."""

OPENING = ("opening",)
ASKING = (*OPENING, "questioner", "asking")
ANSWERING = (*OPENING, "closing", "respondent")
TASK_WRITER = ("task_writer", "task_request", "task_example")
PERSONA_WRITER = ("persona_writer", "persona_request", "persona_example")
ORACLE = ("oracle",)
JUDGING: dict[JudgeMethod, tuple[str, ...]] = {
    "written": ("judge", "judge_written", "judge_again"),
    "choice": ("judge", "judge_choice"),
    "fit": (*OPENING, "persona_opening"),
}


def _no_prompts(experiment: Experiment, split: str) -> tuple[str, ...]:
    del experiment, split
    return ()


def _conversation_prompts(experiment: Experiment, split: str) -> tuple[str, ...]:
    generated = any(r.replies == "generated" for r in experiment.roleplayers_of(split))
    return (*ASKING, *(("roleplayer",) if generated else ()))


def _score_prompts(experiment: Experiment, split: str) -> tuple[str, ...]:
    del experiment
    return (*ANSWERING, *(("persona_opening",) if split == TEST_SPLIT else ()))


def _regularization_prompts(experiment: Experiment, split: str) -> tuple[str, ...]:
    del split
    stated = experiment.regularization
    if stated.response != "own":
        return ()
    return ANSWERING if stated.prompt is None else (*OPENING, "respondent", "instructed")


def _training_prompts(experiment: Experiment, split: str) -> tuple[str, ...]:
    del split
    answers = experiment.training.fine_tunes and experiment.regularization.response != "none"
    return (*ASKING, *(ANSWERING if answers else ()))


def _response_prompts(experiment: Experiment, split: str) -> tuple[str, ...]:
    del split
    instructed = Arm.INSTRUCTED in experiment.evaluation.arms
    return (*ANSWERING, *(("instructed",) if instructed else ()))


def _heard_prompts(experiment: Experiment, split: str) -> tuple[str, ...]:
    del experiment, split
    return ANSWERING


def _evaluation_prompts(experiment: Experiment, split: str) -> tuple[str, ...]:
    if split in TRAIN_SPLITS:
        return ()
    return (*_conversation_prompts(experiment, split), *ANSWERING, "persona_opening")


def _judge_prompts(experiment: Experiment, split: str) -> tuple[str, ...]:
    del split
    used = (prompt for judge in experiment.judges for prompt in JUDGING[judge.method])
    return tuple(dict.fromkeys(used))


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a table of an experiment is made from, beside the experiment's own fields and its
    policy.

    `rules` is raised when the same inputs would give other rows; a test fails when the code of the
    rules has changed and nobody has said whether the rows have. `data` are tables of the data set,
    `cell` those of the same cell, `reference` those of the base model's cell on the same split.
    """

    rules: int
    data: tuple[str, ...] = ()
    cell: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    prompts: Prompts = _no_prompts


EVALUATED = "evaluation_outcomes"
"""The table of a policy's cells on external evaluations, `1|in3`. It reads no other table."""
PEOPLE = ("tasks", "personas")
LINEAGE = {
    "conversations": Lineage(2, data=PEOPLE, prompts=_conversation_prompts),
    "roleplayer_audit": Lineage(1, data=PEOPLE, cell=("conversations",)),
    "gold_log_probs": Lineage(1, data=DATA_TABLES, cell=("conversations",), prompts=_score_prompts),
    "best_conversations": Lineage(1, data=PEOPLE, cell=("conversations", "gold_log_probs")),
    "regularization_responses": Lineage(
        1,
        data=DATA_TABLES,
        cell=("conversations", "best_conversations"),
        prompts=_regularization_prompts,
    ),
    "checkpoints": Lineage(
        1,
        data=PEOPLE,
        cell=("conversations", "best_conversations", "regularization_responses"),
        prompts=_training_prompts,
    ),
    "responses": Lineage(
        1,
        data=PEOPLE,
        cell=("conversations",),
        reference=("conversations",),
        prompts=_response_prompts,
    ),
    "heard_statements": Lineage(
        1,
        data=PEOPLE,
        cell=("conversations", "responses"),
        reference=("conversations",),
        prompts=_heard_prompts,
    ),
    "judge_audit": Lineage(
        2, data=DATA_TABLES, cell=("responses",), reference=("responses",), prompts=_judge_prompts
    ),
    "judgements": Lineage(
        3, data=PEOPLE, cell=("responses",), reference=("responses",), prompts=_judge_prompts
    ),
    "win_rates": Lineage(3, cell=("judgements", "judge_audit")),
    EVALUATED: Lineage(1, prompts=_evaluation_prompts),
}
"""The tables of a cell, in the order in which they are made."""
REPORT_RULES = 2
"""Raised when the same test cells would give another report."""
DATA_RULES = {"tasks": 2, "personas": 2, "gold_responses": 3}
"""Raised when the same sources, or the same model, would give other rows."""

SIMULATED = ("conversations", "gold_log_probs")
TRAINED = ("best_conversations", "regularization_responses", "checkpoints")
ANSWERED = ("responses", "heard_statements")
JUDGED = ("judge_audit", "judgements", "win_rates")
ASIDE = ("roleplayer_audit",)
"""Tables of any cell that no other table of a cell is made from. A step is done without them, so
that a new one makes nothing else due; what is missing of them is made by itself.
"""


def tables_above(table: str) -> set[str]:
    """The tables of a cell that a table is made from, directly or not."""
    read = LINEAGE[table].cell
    return set(read).union(*map(tables_above, read))


def nearest_tables(table: str) -> tuple[list[str], list[str]]:
    """Of the tables that a table reads those that no other on the way to it reads too: of the data
    set, and of the cell. They are the edges that Dagster draws; the others follow from them.
    """
    lineage, above = LINEAGE[table], tables_above(table)
    data = [d for d in lineage.data if not any(d in LINEAGE[other].data for other in above)]
    cell = [c for c in lineage.cell if not any(c in tables_above(other) for other in lineage.cell)]
    return data, cell


def planned_tables(purpose: Purpose, experiment: Experiment) -> tuple[str, ...]:
    """The tables that are made in a planned cell, in the order in which they are made."""
    return (*step_tables(purpose, experiment), *ASIDE)


def step_tables(purpose: Purpose, experiment: Experiment) -> tuple[str, ...]:
    """Those of them without which a step is not done."""
    if purpose == "train":
        return (*SIMULATED, *TRAINED)
    return (*SIMULATED, *ANSWERED, *(JUDGED if experiment.judge else ()))


def data_prompts(data_set: DataSet, table: str) -> tuple[str, ...]:
    """The templates that a table of a data set is written with."""
    if table == "tasks" and data_set.task_writer is not None:
        return TASK_WRITER
    if table == "personas" and data_set.persona_writer is not None:
        return PERSONA_WRITER
    return ORACLE if table == "gold_responses" and data_set.oracle is not None else ()
