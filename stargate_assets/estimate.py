"""What an experiment would ask of its models, before it asks: the method itself is run, on models
that count and do not answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from itertools import cycle

import polars as pl

from stargate_assets.assets.frames import gold_texts, pairs_of
from stargate_assets.assets.grid import done_steps, policy_checkpoint
from stargate_assets.assets.iteration import simulated
from stargate_assets.assets.judging import judged
from stargate_assets.assets.responses import responded
from stargate_assets.assets.training import answered
from stargate_assets.counting_model import Calls, CountingModel, Deciding, words
from stargate_assets.data_set import DATA_TABLES, DataSet
from stargate_assets.definitions import Project
from stargate_assets.experiment import Experiment, ModelSpec
from stargate_assets.jobs import needed_splits
from stargate_assets.method.arms import BASE, REFERENCE, judged_arms
from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.gold_responses import write_gold_responses
from stargate_assets.method.judging import Comparison, audit
from stargate_assets.method.plan import Step, parent_cell, planned_steps
from stargate_assets.method.prompts import persona_writer_messages
from stargate_assets.method.scoring import score_gold_responses
from stargate_assets.method.simulation import Cell, turn_count
from stargate_assets.method.splits import draw
from stargate_assets.sources.tables import EXAMPLES, Tables, reader
from stargate_assets.storage.completions import UsageRow
from stargate_assets.token_counts import token_counter

COUNTED = 6
"""Tasks and personas of a split whose prompts are made; the others are taken to be like them."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A role's calls in a slice, what they cost and how long they take on this machine; None is
    unknown.
    """

    slice: str
    role: str
    model: str
    kind: str
    calls: int
    stored: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float | None
    seconds: float | None
    tokenizer: str
    measured: bool
    """Whether completions are taken to be as long as they were so far, not as their limit."""


@dataclass(frozen=True, slots=True)
class Split:
    """All pairs of a split, those of them that are counted, and the gold responses that are
    there.
    """

    every: list[Pair]
    pairs: list[Pair]
    gold: Mapping[tuple[str, str], str]

    @property
    def times(self) -> float:
        return len(self.every) / len(self.pairs)


@dataclass(frozen=True, slots=True)
class Reference:
    """What the base model says in its own cell of a split, where it is counted."""

    conversations: list[Conversation]
    texts: Mapping[Pair, str]


@dataclass(frozen=True)
class Estimator:
    """Estimates one experiment of a project. `usage` is of everything that was asked here."""

    project: Project
    name: str
    usage: Sequence[UsageRow]
    references: dict[str, Reference] = field(default_factory=dict[str, Reference])
    """By split."""

    @property
    def experiment(self) -> Experiment:
        return self.project.experiments[self.name]

    @property
    def data_set(self) -> DataSet:
        return self.project.data_sets[self.experiment.data_set]

    def estimates(self) -> Iterator[Estimate]:
        """What is not done yet, in the order in which it would be asked."""
        splits = {split: self._split(split) for split in needed_splits(self.experiment)}
        yield from self._data_set(splits)
        done = done_steps(self.project.warehouse, self.name, self.experiment)
        due = [s for s in planned_steps(self.experiment.iterations) if s not in done]
        for number, step in enumerate(due):
            yield from self._cell(step, splits[step.cell.split], done)
            self.project.models.on_progress("counting, cells", number + 1, len(due))

    def _data_set(self, splits: Mapping[str, Split]) -> Iterator[Estimate]:
        data_set, schema = self.data_set, self.experiment.data_set
        for split in self.project.missing_splits(schema, splits):
            if (writer := data_set.persona_writer) is not None:
                model = self._base(schema, "persona_writer", writer.model)
                count = getattr(writer.sizes, split)
                examples = reader(schema, data_set)().examples[:EXAMPLES]
                prompt = model.counter.prompt(persona_writer_messages(examples))
                tokens = round(model.mean_tokens or writer.persona_tokens)
                model.counted["chat"] = Calls(count, 0, count * prompt, count * tokens)
                yield from self._lines(split, "persona_writer", writer.model, model, 1)
            if (oracle := data_set.oracle) is not None:
                model, rows = self._base(schema, "oracle", oracle.model), splits[split]
                missing = [pair for pair in rows.pairs if pair.key not in rows.gold]
                write_gold_responses(model, missing, oracle.answer_tokens)
                yield from self._lines(split, "oracle", oracle.model, model, rows.times)

    def _cell(self, step: Step, split: Split, done: Sequence[Step]) -> Iterator[Estimate]:
        experiment, cell, base = self.experiment, step.cell, self.experiment.questioner
        policy = self._identity(step, done)

        def lines(
            role: str, spec: ModelSpec, model: CountingModel, times: float = split.times
        ) -> Iterator[Estimate]:
            return self._lines(cell.key, role, spec, model, times)

        def turns(pairs: Sequence[Pair]) -> int:
            most = experiment.simulation.max_turns
            return sum(turn_count(experiment.seed, cell, pair, most) for pair in pairs)

        questioner = self._model(self.name, "questioner", base, policy)
        roleplayers = self._roleplayers(cell.split)
        conversations = simulated(experiment, cell, split.pairs, questioner, roleplayers)
        turn_times = turns(split.every) / turns(split.pairs)
        yield from lines("questioner", base, questioner, turn_times)
        for roleplayer in experiment.roleplayers_of(cell.split):
            model = roleplayers[roleplayer.label]
            yield from lines("roleplayer", roleplayer.model, model, turn_times)
        scorer = self._base(self.name, "scorer", base)
        gold = self._gold(split)
        objective = experiment.selection.objective
        score_gold_responses(scorer, conversations, gold, cell, experiment.seed, objective)
        yield from lines("scorer", base, scorer)
        if step.purpose == "train":
            if experiment.regularization.response == "own":
                respondent = self._model(self.name, "respondent", base, policy)
                best = [c for c in conversations if c.sample < experiment.selection.top]
                answered(respondent, best, experiment.regularization.answer_tokens)
                yield from lines("respondent", base, respondent)
            return
        yield from self._evaluation(cell, split, conversations, policy)

    def _evaluation(
        self,
        cell: Cell,
        split: Split,
        conversations: Sequence[Conversation],
        policy: str | None,
    ) -> Iterator[Estimate]:
        """Responses and judgements. The audit asks the same in every cell, so cell 0 pays it."""
        experiment, base = self.experiment, self.experiment.questioner
        reference = self._reference(cell.split, split)
        talked = {BASE: reference.conversations} | {cell.iteration: conversations}
        answerer = self._model(self.name, "respondent", base, policy)
        of_base = self._base(self.name, "respondent", base)
        of_base = replace(of_base, counted=answerer.counted)
        answerers = {BASE: of_base} | {cell.iteration: answerer}
        responses = responded(experiment, cell, split.pairs, answerers, talked)
        yield from self._lines(cell.key, "respondent", base, answerer, split.times)
        if (judge := experiment.judge) is None:
            return
        compared = [
            Comparison(r.pair, r.text, reference.texts[r.pair])
            for r in responses
            if r.arm in judged_arms(cell.iteration)
        ]
        if cell.iteration == BASE:
            audited = audit(split.pairs, self._gold(split), cell.split, experiment.seed)
            compared += [a.comparison for a in audited]
        model = self._base(self.name, "judge", judge.model)
        judged(Deciding(model), judge, compared)
        yield from self._lines(cell.key, "judge", judge.model, model, split.times)

    def _reference(self, name: str, split: Split) -> Reference:
        """Made once a split: every policy is compared with the same."""
        if name not in self.references:
            experiment, cell = self.experiment, Cell(BASE, name)
            asking = self._base(self.name, "questioner", experiment.questioner)
            talked = simulated(experiment, cell, split.pairs, asking, self._roleplayers(name))
            answering = self._base(self.name, "respondent", experiment.questioner)
            said = responded(experiment, cell, split.pairs, {BASE: answering}, {BASE: talked})
            texts = {r.pair: r.text for r in said if r.arm is REFERENCE}
            self.references[name] = Reference(talked, texts)
        return self.references[name]

    def _roleplayers(self, split: str) -> dict[str, CountingModel]:
        return {
            r.label: self._base(self.name, "roleplayer", r.model)
            for r in self.experiment.roleplayers_of(split)
        }

    def _identity(self, step: Step, done: Sequence[Step]) -> str | None:
        """Of the cell's policy; None while it is not trained as the experiment is now."""
        parent = parent_cell(step.cell)
        if parent is not None and Step(parent, "train") not in done:
            return None
        checkpoint = policy_checkpoint(self.project.warehouse, self.name, step.cell)
        return self.project.models.identity(self.experiment.questioner, checkpoint)

    def _base(self, schema: str, role: str, spec: ModelSpec) -> CountingModel:
        return self._model(schema, role, spec, self.project.models.identity(spec))

    def _model(
        self, schema: str, role: str, spec: ModelSpec, identity: str | None
    ) -> CountingModel:
        pool = self.project.models
        of_role = [
            row
            for row in self.usage
            if (row.schema_name, row.role, row.model, row.kind)
            == (schema, role, spec.label, "chat")
        ]
        calls = sum(row.calls for row in of_role)
        return CountingModel(
            token_counter(spec, pool.path),
            pool.store(),
            identity,
            sum(row.completion_tokens for row in of_role) / calls if calls else None,
        )

    def _lines(
        self, where: str, role: str, spec: ModelSpec, model: CountingModel, times: float
    ) -> Iterator[Estimate]:
        price = self.project.models.machine.price(spec)
        for kind, counted in model.counted.items():
            calls, stored, prompt, completion = (round(n * times) for n in astuple(counted))
            if price is None:
                dollars = None
            elif kind == "score":
                dollars = price.dollars_of_scores(prompt, completion, calls - stored)
            else:
                dollars = price.dollars(prompt, completion)
            yield Estimate(
                slice=where,
                role=role,
                model=spec.label,
                kind=kind,
                calls=calls,
                stored=stored,
                prompt_tokens=prompt,
                completion_tokens=completion,
                dollars=dollars,
                seconds=self._seconds(spec.label, kind, prompt, completion),
                tokenizer=model.counter.whose,
                measured=kind == "score" or model.mean_tokens is not None,
            )

    def _seconds(self, model: str, kind: str, prompt: int, completion: int) -> float | None:
        """At the speed that this machine had so far, by tokens written or, of scores, read."""
        rows = [row for row in self.usage if (row.model, row.kind) == (model, kind)]
        read = kind == "score"
        tokens = sum(row.prompt_tokens * read + row.completion_tokens for row in rows)
        if not tokens:
            return None
        return (prompt * read + completion) * sum(row.seconds for row in rows) / tokens

    def _split(self, split: str) -> Split:
        """From the tables if they are there, else from the sources."""
        schema, data_set, warehouse = (
            self.experiment.data_set,
            self.data_set,
            self.project.warehouse,
        )
        if (DATA_TABLES[-1], split) in warehouse.materializations(schema):
            slices = [{"split": split}]
            tasks, personas, gold = (warehouse.read(schema, t, slices) for t in DATA_TABLES)
        else:
            read = reader(schema, data_set)()
            tasks = read.tasks.of(split)
            personas = read.personas.of(split) if read.personas else self._stand_ins(read, split)
            gold = read.gold_responses.of(split) if read.gold_responses else None
        some_tasks, some_personas = (
            rows.filter(pl.col(key).is_in(draw(rows[key], COUNTED, "estimate", split)))
            for rows, key in ((tasks, "task_id"), (personas, "persona_id"))
        )
        return Split(
            pairs_of(tasks, personas),
            pairs_of(some_tasks, some_personas),
            {} if gold is None else gold_texts(gold),
        )

    def _stand_ins(self, read: Tables, split: str) -> pl.DataFrame:
        """The examples, for personas that are not written yet."""
        assert self.data_set.persona_writer is not None
        rows = [
            {"persona_id": str(number), "name": example.name, "text": example.text}
            for number, example in zip(
                range(getattr(self.data_set.persona_writer.sizes, split)), cycle(read.examples)
            )
        ]
        return pl.DataFrame(rows)

    def _gold(self, split: Split) -> dict[tuple[str, str], str]:
        """The gold responses of the pairs; of those that are not written, as many words."""
        oracle, keys = self.data_set.oracle, [pair.key for pair in split.pairs]
        if oracle is None:
            return {key: split.gold[key] for key in keys if key in split.gold}
        model = self._model(self.experiment.data_set, "oracle", oracle.model, None)
        tokens = round(model.mean_tokens or oracle.answer_tokens)
        return {key: split.gold.get(key) or words(str(key), tokens) for key in keys}


def estimate(project: Project, name: str) -> list[Estimate]:
    """What is not done yet of an experiment, by role and slice."""
    return list(Estimator(project, name, project.models.store().usage()).estimates())
