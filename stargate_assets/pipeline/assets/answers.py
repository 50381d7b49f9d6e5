"""What the policy's own answers show, pair by pair: whether they ask, and what nobody told them."""

from collections.abc import Mapping

import polars as pl

from stargate_assets.method.arms import Arm
from stargate_assets.method.conversation import is_question, somebody_else
from stargate_assets.method.facts import heard_in, unheard_facts
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.statistics import PairValues
from stargate_assets.pipeline.assets.frames import conversations_of, pairs_of
from stargate_assets.reporting.metrics import (
    ANSWERS_THAT_ASK,
    UNHEARD_FACTS,
    UNHEARD_FACTS_BY_CHANCE,
)
from stargate_assets.reporting.tables import ExperimentTables


def answer_values(tables: ExperimentTables) -> Mapping[tuple[int, str], PairValues]:
    """For each policy and metric, 1 or 0 for each pair's response of arm `method` on the test
    split.
    """
    pairs = pairs_of(tables.tested("tasks"), tables.tested("personas"))
    people = list({pair.persona.persona_id: pair.persona for pair in pairs}.values())
    responses = tables.tested("responses").filter(pl.col("arm") == Arm.METHOD)
    conversations = tables.tested("conversations")
    values: dict[tuple[int, str], dict[tuple[str, str], float]] = {}
    for iteration in sorted(responses["iteration"].unique()):
        here = pl.col("iteration") == iteration
        talked = {
            (*c.pair.key, c.sample): c for c in conversations_of(conversations.filter(here), pairs)
        }
        said = responses.filter(here).select("task_id", "persona_id", "sample", "text")
        for task, persona_id, sample, text in said.iter_rows():
            conversation = talked[task, persona_id, sample]
            persona, heard = conversation.pair.persona, heard_in(conversation)
            key = (tables.experiment.seed, "facts", TEST_SPLIT, task, persona_id)
            other = somebody_else(persona, people, *key)
            found = {
                ANSWERS_THAT_ASK: is_question(text),
                UNHEARD_FACTS: bool(unheard_facts(text, persona, heard, people)),
            }
            if other is not None:
                stated = unheard_facts(text, other, heard, people)
                found[UNHEARD_FACTS_BY_CHANCE] = bool(stated)
            for metric, value in found.items():
                values.setdefault((iteration, metric), {})[task, persona_id] = float(value)
    return values
