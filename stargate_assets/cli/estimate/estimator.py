"""What an experiment would ask of its models, before it asks: the method itself is run, on models
that count and do not answer.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace

from stargate_assets.cli.estimate.counting_model import (
    Answer,
    Answers,
    Calls,
    CountingModel,
    DecidingModel,
    EstimatedCalls,
    dollars_of,
    make_up_words,
    mean_tokens_so_far,
    seconds_so_far,
)
from stargate_assets.cli.estimate.sample import (
    PairSample,
    cells_to_audit,
    items_to_evaluate,
    sample_pairs,
)
from stargate_assets.cli.estimate.tokens import token_counter
from stargate_assets.config.data_set import DataSet, TaskWriter
from stargate_assets.config.experiment import Experiment
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project
from stargate_assets.method.advantages import score_questions
from stargate_assets.method.arms import BASE, Response
from stargate_assets.method.audits import audit_pairs
from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.evaluations.kind import Item, Kind
from stargate_assets.method.gold_responses import write_gold_responses
from stargate_assets.method.judging import compare_with_references
from stargate_assets.method.plan import Step, parent_cell, planned_steps
from stargate_assets.method.roleplayer_audit import audit_replies
from stargate_assets.method.simulation import Cell, turn_count
from stargate_assets.method.written_tasks import MOST_LINES, TASK_EXAMPLES
from stargate_assets.pipeline.assets.steps import (
    evaluate_cell,
    judge_comparisons,
    regularize_cell,
    respond_cell,
    score_cell,
    select_cell,
    simulate_cell,
    trace_cell,
)
from stargate_assets.pipeline.assets.versions import done_steps, policy_checkpoint, training_version
from stargate_assets.pipeline.jobs import needed_splits
from stargate_assets.pipeline.sources.tables import EXAMPLES, reader
from stargate_assets.storage.completions import UsageRow

Lines = Iterator[EstimatedCalls]


@dataclass(frozen=True, slots=True)
class BaseCell:
    """What the base model says in its own cell of a split, where it is counted."""

    conversations: list[Conversation]
    responses: list[Response]


@dataclass(frozen=True)
class Estimator:
    """Estimates one experiment. `usage` is of everything that was asked here."""

    project: Project
    name: str
    usage: Sequence[UsageRow]
    before: Answers = field(default_factory=dict[str, Answer])
    """What other experiments will have been answered by then."""
    with_data: bool = True
    """Whether the data set's own calls are this experiment's to make."""
    asked: dict[str, Answer] = field(default_factory=dict[str, Answer])
    base_cells: dict[str, BaseCell] = field(default_factory=dict[str, BaseCell])
    """By split."""

    @property
    def experiment(self) -> Experiment:
        return self.project.experiments[self.name]

    def estimates(self) -> Iterator[EstimatedCalls]:
        """What is not done yet, in the order in which it would be asked."""
        schema = self.experiment.data_set
        splits = {
            split: sample_pairs(self.project, schema, split)
            for split in needed_splits(self.experiment)
        }
        if self.with_data:
            yield from self._data_set(splits)
        done = done_steps(self.project.warehouse, self.name, self.experiment)
        due = [s for s in planned_steps(self.experiment.iterations) if s not in done]
        for number, step in enumerate(due):
            yield from self._cell(step, splits[step.cell.split])
            self.project.models.on_progress("counting, cells", number + 1, len(due))
        for cell, conversations in cells_to_audit(self.project, self.name):
            yield from self._audit(cell.key, conversations, 1)
        for cell, kind, items, times in items_to_evaluate(self.project, self.name):
            yield from self._external_evaluation(cell, kind, items, times)

    def _data_set(self, splits: Mapping[str, PairSample]) -> Iterator[EstimatedCalls]:
        schema = self.experiment.data_set
        data_set = self.project.data_sets[schema]
        for split in self.project.missing_splits(schema, splits):
            if (tasks := data_set.task_writer) is not None:
                yield from self._task_writer(split, data_set, tasks)
            if (writer := data_set.persona_writer) is not None:
                model = self._base(schema, "persona_writer", writer.model)
                count = getattr(writer.sizes, split)
                examples = reader(schema, data_set)().examples[:EXAMPLES]
                prompt = model.counter.prompt(data_set.prompts.persona_writer_messages(examples))
                tokens = round(model.mean_tokens or writer.persona_tokens)
                model.counted["chat"] = Calls(count, 0, count * prompt, count * tokens)
                yield from self._lines(split, "persona_writer", writer.model, model, 1)
            if (oracle := data_set.oracle) is not None:
                model, rows = self._base(schema, "oracle", oracle.model), splits[split]
                missing = [pair for pair in rows.pairs if pair.key not in rows.gold]
                write_gold_responses(model, missing, oracle.answer_tokens, data_set.prompts)
                yield from self._lines(split, "oracle", oracle.model, model, rows.times)

    def _task_writer(
        self, split: str, data_set: DataSet, writer: TaskWriter
    ) -> Iterator[EstimatedCalls]:
        """The calls that write a split's tasks, if none of them has to be asked for again."""
        schema = self.experiment.data_set
        model = self._base(schema, "task_writer", writer.model)
        calls = math.ceil(getattr(writer.sizes, split) / MOST_LINES)
        shown = reader(schema, data_set)().task_examples[:TASK_EXAMPLES]
        messages = data_set.prompts.task_writer_messages(
            [(example.kind, example.text, example.domain) for example in shown],
            writer.domains[0],
            MOST_LINES,
        )
        prompt = model.counter.prompt(messages)
        tokens = round(model.mean_tokens or writer.answer_tokens)
        model.counted["chat"] = Calls(calls, 0, calls * prompt, calls * tokens)
        yield from self._lines(split, "task_writer", writer.model, model, 1)

    def _cell(self, step: Step, split: PairSample) -> Iterator[EstimatedCalls]:
        experiment, cell, base = self.experiment, step.cell, self.experiment.questioner
        policy = self._identity(cell)

        def lines(
            role: str, spec: ModelSpec, model: CountingModel, times: float = split.times
        ) -> Iterator[EstimatedCalls]:
            return self._lines(cell.key, role, spec, model, times)

        def turns(pairs: Sequence[Pair]) -> int:
            most = experiment.simulation.max_turns
            return sum(turn_count(experiment.seed, cell, pair, most) for pair in pairs)

        questioner = self._model(self.name, "questioner", base, policy)
        roleplayers = self._roleplayers(cell.split)
        conversations = simulate_cell(experiment, cell, split.pairs, questioner, roleplayers)
        turn_times = turns(split.every) / turns(split.pairs)
        yield from lines("questioner", base, questioner, turn_times)
        for roleplayer in experiment.roleplayers_of(cell.split):
            model = roleplayers[roleplayer.label]
            yield from lines("roleplayer", roleplayer.model, model, turn_times)
        yield from self._audit(cell.key, conversations, turn_times)
        scorer = self._base(self.name, "scorer", base)
        gold = self._gold(split)
        scores = score_cell(experiment, cell, conversations, gold, scorer)
        if step.purpose == "train":
            if experiment.training.loss == "reinforce":
                asker = self._model(self.name, "questioner", base, policy)
                score_questions(asker, scorer, conversations, experiment.told)
                yield from lines("questioner", base, asker)
            yield from lines("scorer", base, scorer)
            if experiment.regularization.response == "own":
                respondent = self._model(self.name, "respondent", base, policy)
                selected = select_cell(experiment, conversations, scores, margin=None)
                best = [s.conversation for s in selected]
                regularize_cell(experiment, best, gold, respondent)
                yield from lines("respondent", base, respondent)
            return
        yield from self._evaluation(cell, split, conversations, policy, scorer)

    def _audit(self, where: str, said: Sequence[Conversation], times: float) -> Lines:
        auditor = self._base(self.name, "auditor", self.experiment.questioner)
        audit_replies(auditor, said)
        return self._lines(where, "auditor", self.experiment.questioner, auditor, times)

    def _external_evaluation(
        self, cell: Cell, kind: Kind, items: Sequence[Item], times: float
    ) -> Lines:
        experiment, base = self.experiment, self.experiment.questioner
        policy = self._model(self.name, "questioner", base, self._identity(cell))
        scorer, roleplayers = self._base(self.name, "scorer", base), self._roleplayers(cell.split)
        evaluate_cell(experiment, cell, kind, items, policy, scorer, roleplayers)
        yield from self._lines(cell.key, "questioner", base, policy, times)
        yield from self._lines(cell.key, "scorer", base, scorer, times)
        for r in experiment.roleplayers_of(cell.split):
            yield from self._lines(cell.key, "roleplayer", r.model, roleplayers[r.label], times)

    def _evaluation(
        self,
        cell: Cell,
        split: PairSample,
        conversations: Sequence[Conversation],
        policy: str,
        scorer: CountingModel,
    ) -> Iterator[EstimatedCalls]:
        """Responses, what they make of what was said, and judgements. `scorer` has scored the gold
        responses. The audits ask the same in every cell, so cell 0 pays them.
        """
        experiment, base = self.experiment, self.experiment.questioner
        base_cell = self._base_cell(cell.split, split)
        talked = {BASE: base_cell.conversations} | {cell.iteration: conversations}
        answerer = self._model(self.name, "respondent", base, policy)
        of_base = self._base(self.name, "respondent", base)
        of_base = replace(of_base, counted=answerer.counted)
        answerers = {BASE: of_base} | {cell.iteration: answerer}
        responses = respond_cell(experiment, cell, split.pairs, answerers, talked)
        trace_cell(experiment, cell, split.pairs, responses, talked, scorer)
        yield from self._lines(cell.key, "scorer", base, scorer, split.times)
        yield from self._lines(cell.key, "respondent", base, answerer, split.times)
        judged = compare_with_references(responses, base_cell.responses, cell.iteration)
        compared = [comparison for *_, comparison in judged]
        if cell.iteration == BASE:
            gold, seed = self._gold(split), experiment.seed
            audits = audit_pairs(split.pairs, gold, responses, cell.split, seed)
            compared += [a.comparison for a in audits.audited]
        for judge in experiment.judges:
            model = self._base(self.name, "judge", judge.model)
            judge_comparisons(judge, DecidingModel(model), compared, experiment.told)
            yield from self._lines(cell.key, "judge", judge.model, model, split.times)

    def _base_cell(self, name: str, split: PairSample) -> BaseCell:
        """Made once a split: every policy is compared with the same."""
        if name not in self.base_cells:
            experiment, cell = self.experiment, Cell(BASE, name)
            asking = self._base(self.name, "questioner", experiment.questioner)
            talked = simulate_cell(experiment, cell, split.pairs, asking, self._roleplayers(name))
            answering = self._base(self.name, "respondent", experiment.questioner)
            said = respond_cell(experiment, cell, split.pairs, {BASE: answering}, {BASE: talked})
            self.base_cells[name] = BaseCell(talked, said)
        return self.base_cells[name]

    def _roleplayers(self, split: str) -> dict[str, CountingModel]:
        return {
            r.label: self._base(self.name, "roleplayer", r.model)
            for r in self.experiment.roleplayers_of(split)
        }

    def _identity(self, cell: Cell) -> str:
        """Of the cell's policy: as trained by this experiment, or by another from the same. One
        that nobody has trained has answered nothing yet.
        """
        project, questioner, parent = self.project, self.experiment.questioner, parent_cell(cell)
        if parent is None:
            return project.models.identity(questioner)
        origin = training_version(self.experiment, parent.split)
        for name, other in ({self.name: self.experiment} | project.experiments).items():
            same = training_version(other, parent.split) == origin
            if same and Step(parent, "train") in done_steps(project.warehouse, name, other):
                checkpoint = policy_checkpoint(project.warehouse, name, cell)
                return project.models.identity(questioner, checkpoint)
        return f"policy {cell.iteration} of {origin}"

    def _base(self, schema: str, role: str, spec: ModelSpec) -> CountingModel:
        return self._model(schema, role, spec, self.project.models.identity(spec))

    def _model(self, schema: str, role: str, spec: ModelSpec, identity: str) -> CountingModel:
        pool = self.project.models
        return CountingModel(
            token_counter(spec, pool.path),
            pool.store(),
            identity,
            mean_tokens_so_far(self.usage, schema, role, spec.label),
            self.before,
            self.asked,
        )

    def _lines(
        self, where: str, role: str, spec: ModelSpec, model: CountingModel, times: float
    ) -> Iterator[EstimatedCalls]:
        price = self.project.models.machine.price(spec)
        for kind, counted in model.counted.items():
            calls, stored, prompt, completion = (round(n * times) for n in astuple(counted))
            seconds = seconds_so_far(self.usage, spec.label, kind, prompt, completion)
            yield EstimatedCalls(
                slice=where,
                role=role,
                model=spec.label,
                kind=kind,
                calls=calls,
                stored=stored,
                prompt_tokens=prompt,
                completion_tokens=completion,
                dollars=dollars_of(price, kind, prompt, completion, calls - stored),
                seconds=None if spec.batch else seconds,
                tokenizer=model.counter.whose,
                measured=kind == "score" or model.mean_tokens is not None,
                in_batches=spec.batch,
            )

    def _gold(self, split: PairSample) -> dict[tuple[str, str], str]:
        """The gold responses of the pairs; of those that are not written, as many make_up_words."""
        schema, keys = self.experiment.data_set, [pair.key for pair in split.pairs]
        oracle = self.project.data_sets[schema].oracle
        if oracle is None:
            return {key: split.gold[key] for key in keys if key in split.gold}
        model = self._base(schema, "oracle", oracle.model)
        tokens = round(model.mean_tokens or oracle.answer_tokens)
        return {key: split.gold.get(key) or make_up_words(str(key), tokens) for key in keys}


def estimate_calls(project: Project, names: Sequence[str]) -> dict[str, list[EstimatedCalls]]:
    """What is not done yet of each experiment, by role and slice, when they are run one after
    another: what an earlier one asks is on disk for a later one.
    """
    usage = project.models.store().usage()
    before: Answers = {}
    found: dict[str, list[EstimatedCalls]] = {}
    data_sets: set[str] = set()
    for name in names:
        data_set = project.experiments[name].data_set
        estimator = Estimator(project, name, usage, before, data_set not in data_sets)
        found[name] = list(estimator.estimates())
        before = {**before, **estimator.asked}
        data_sets.add(data_set)
    return found
