"""The steps of a cell as an experiment states them: its fields become the arguments of `method/`.

The assets run them on models that answer, an estimate on models that count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from stargate_assets.config.experiment import Experiment, Judge, Roleplayer
from stargate_assets.method.advantages import find_advantages, score_questions, weigh_better
from stargate_assets.method.arms import Response, respond
from stargate_assets.method.conversation import Conversation, Pair, people_of
from stargate_assets.method.evaluations.evaluate import evaluate
from stargate_assets.method.evaluations.kind import Asked, Item, Kind, Outcome
from stargate_assets.method.examples import Dialogue, training_dialogues
from stargate_assets.method.heard import Heard, trace_statements
from stargate_assets.method.judging import Comparison, Judgement, judge
from stargate_assets.method.language_model import LanguageModel, Sampling
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.regularization import (
    RegularizationResponse,
    answer_tasks,
    learn_gold_responses,
    learn_own_answers,
)
from stargate_assets.method.roleplay import Reply, choose_replies, generate_replies
from stargate_assets.method.scoring import GoldLogProb, score_gold_responses
from stargate_assets.method.selection import Selected, find_candidates, select_conversations
from stargate_assets.method.simulation import Cell, conversations_without_questions, simulate


def roleplayer_reply(roleplayer: Roleplayer, model: LanguageModel, prompts: Prompts) -> Reply:
    """The way a Roleplayer replies, as the simulation wants it."""
    if roleplayer.replies == "chosen":
        return partial(choose_replies, model)
    sampling = Sampling(roleplayer.answer_tokens, roleplayer.temperature)
    return partial(generate_replies, model, sampling, prompts)


def roleplayer_replies(
    experiment: Experiment, cell: Cell, models: Mapping[str, LanguageModel]
) -> dict[str, Reply]:
    """The way each Roleplayer of a cell replies, by its label."""
    return {
        r.label: roleplayer_reply(r, models[r.label], experiment.told)
        for r in experiment.roleplayers_of(cell.split)
    }


def asking(experiment: Experiment) -> Sampling:
    """How the policy's turns are sampled."""
    stated = experiment.simulation
    return Sampling(stated.question_tokens, stated.temperature, stated.top_p)


def simulate_cell(
    experiment: Experiment,
    cell: Cell,
    pairs: Sequence[Pair],
    questioner: LanguageModel,
    roleplayers: Mapping[str, LanguageModel],
) -> list[Conversation]:
    """Simulate the conversations of a cell (Algorithm 1, line 3); the roleplayers are by label."""
    stated, samples = experiment.simulation, experiment.samples(cell.split)
    conversations = simulate(
        questioner,
        roleplayer_replies(experiment, cell, roleplayers),
        pairs,
        cell,
        seed=experiment.seed,
        samples=samples,
        max_turns=stated.max_turns,
        sampling=asking(experiment),
        prompts=experiment.told,
    )
    return conversations + conversations_without_questions(
        pairs, samples, experiment.unasked(cell.split)
    )


def score_cell(
    experiment: Experiment,
    cell: Cell,
    conversations: Sequence[Conversation],
    gold_texts: Mapping[tuple[str, str], str],
    scorer: LanguageModel,
) -> list[GoldLogProb]:
    """Score the gold responses of a cell's pairs (line 4, and section 5)."""
    return score_gold_responses(
        scorer,
        conversations,
        gold_texts,
        cell,
        experiment.seed,
        experiment.told,
        experiment.selection.objective,
    )


def select_cell(
    experiment: Experiment,
    conversations: Sequence[Conversation],
    scores: Sequence[GoldLogProb],
    *,
    margin: float | None,
) -> list[Selected]:
    """Select the best conversations of each pair (line 4)."""
    stated = experiment.selection
    return select_conversations(
        conversations,
        scores,
        objective=stated.objective,
        top=stated.top,
        margin=margin,
        question_cost=stated.question_cost,
        word_cost=stated.word_cost,
    )


def find_lessons(
    experiment: Experiment,
    conversations: Sequence[Conversation],
    scores: Sequence[GoldLogProb],
    policy: LanguageModel,
    base: LanguageModel,
) -> tuple[list[Dialogue], dict[str, int]]:
    """What the questions of all eligible conversations teach, for a loss that weighs them; and how
    many conversations teach nothing, by reason.
    """
    stated, training = experiment.selection, experiment.training
    candidates = find_candidates(
        conversations,
        scores,
        objective=stated.objective,
        question_cost=stated.question_cost,
        word_cost=stated.word_cost,
    )
    lessons = find_advantages(candidates, standardise=training.standardise_advantages)
    counts = {"no_better_or_worse_sibling": len(candidates) - len(lessons)}
    if training.loss == "weighted_sft":
        better = weigh_better(lessons, training.advantage_temperature)
        counts["worse_than_siblings"] = len(lessons) - len(better)
        return [
            replace(dialogue, weight=lesson.weight)
            for lesson in better
            for dialogue in training_dialogues([lesson.conversation], (), experiment.told)
        ], counts
    talked = [lesson.conversation for lesson in lessons]
    scored = score_questions(policy, base, talked, experiment.told)
    counts["too_long_to_be_scored"] = sum(of_turns is None for of_turns in scored)
    return [
        replace(dialogue, weight=lesson.weight, sampled=of_turns.sampled, base=of_turns.base)
        for lesson, of_turns in zip(lessons, scored, strict=True)
        if of_turns is not None
        for dialogue in training_dialogues([lesson.conversation], (), experiment.told)
    ], counts


def regularize_cell(
    experiment: Experiment,
    best: Sequence[Conversation],
    gold_texts: Mapping[tuple[str, str], str],
    policy: LanguageModel,
) -> tuple[list[RegularizationResponse], dict[str, int]]:
    """Decide what is learnt to be answered after the best conversations (line 5), and count what is
    not learnt, by reason.
    """
    stated = experiment.regularization
    if stated.response == "gold":
        return learn_gold_responses(best, gold_texts), {}
    if stated.response == "none":
        return [], {}
    completions = answer_tasks(
        policy,
        best,
        stated.answer_tokens,
        instructed=stated.prompt is not None,
        prompts=experiment.told,
    )
    learnt = learn_own_answers(best, completions, only_answers=stated.only_answers)
    refused = sum(completion.finish_reason == "refused" for completion in completions)
    return learnt, {"refused": refused, "no_answer": len(best) - len(learnt)}


def evaluate_cell(
    experiment: Experiment,
    cell: Cell,
    kind: Kind,
    items: Sequence[Item],
    policy: LanguageModel,
    scorer: LanguageModel,
    roleplayers: Mapping[str, LanguageModel],
) -> list[Outcome]:
    """Run the policy of a cell on an external evaluation; the roleplayers are by label."""
    replies = roleplayer_replies(experiment, cell, roleplayers)
    asked = Asked(cell, policy, scorer, experiment.told, asking(experiment), experiment.seed)
    return evaluate(kind, items, replies, experiment.simulation.max_turns, asked)


def respond_cell(
    experiment: Experiment,
    cell: Cell,
    pairs: Sequence[Pair],
    answerers: Mapping[int, LanguageModel],
    conversations: Mapping[int, Sequence[Conversation]],
) -> list[Response]:
    """Answer every pair's task in every arm of a test cell; answerers and conversations are by the
    policy's index.
    """
    stated = experiment.evaluation
    return respond(
        answerers,
        conversations,
        pairs,
        cell,
        seed=experiment.seed,
        sampling=Sampling(stated.answer_tokens),
        wanted=stated.arms,
        prompts=experiment.told,
    )


def trace_cell(
    experiment: Experiment,
    cell: Cell,
    pairs: Sequence[Pair],
    responses: Sequence[Response],
    conversations: Mapping[int, Sequence[Conversation]],
    scorer: LanguageModel,
) -> list[tuple[Response, Heard]]:
    """Trace what the responses of a test cell make of what was said; conversations are by the
    asker's index.
    """
    return trace_statements(
        scorer,
        responses,
        conversations,
        people_of(pairs),
        cell.split,
        experiment.seed,
        experiment.told,
    )


def judge_comparisons(
    stated: Judge, model: LanguageModel, comparisons: Sequence[Comparison], prompts: Prompts
) -> list[Judgement]:
    """Ask a Judge for its judgements."""
    return judge(model, stated.method, comparisons, Sampling(stated.answer_tokens), prompts)
