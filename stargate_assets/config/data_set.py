"""Where a data set comes from: frozen models of what a defs.yaml states under `data_set`."""

import codecs
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from stargate_assets.config.experiment import Experiment, ExperimentError
from stargate_assets.config.model_spec import Frozen, ModelSpec, first_fault
from stargate_assets.config.paths import refuse_outside
from stargate_assets.config.prompts import DataPrompts
from stargate_assets.method.errors import DeclarationError
from stargate_assets.method.hygiene import fault
from stargate_assets.method.objectives import OBJECTIVES
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.text import SameText

Names = Literal["column", "drawn", "found", "none"]
Statements = Literal["sentences", "lines", "json"]
DATA_TABLES = ("tasks", "personas", "gold_responses")
TRANSCRIPT_GROUP = "text"


class DataError(DeclarationError):
    """A data set cannot be used. The message names file, line and column, and what to do."""


class Sizes(Frozen):
    """Rows of each split."""

    train_a: PositiveInt
    train_b: PositiveInt
    test: PositiveInt


def _transcript(pattern: str) -> str:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"is not a regular expression ({error})") from error
    if TRANSCRIPT_GROUP not in compiled.groupindex:
        raise ValueError(f"needs a group (?P<{TRANSCRIPT_GROUP}>...) around what to keep")
    return pattern


def _encoding(name: str) -> str:
    try:
        codecs.lookup(name)
    except LookupError as error:
        raise ValueError(f"{name!r} is no encoding that Python knows") from error
    return name


def _domain(name: str) -> str:
    if found := fault("domain", name):
        raise ValueError(found.message)
    return name


def _several(stated: object) -> object:
    return stated if isinstance(stated, list | tuple) else [stated]


class HubDataSet(Frozen):
    """A data set on the Hugging Face Hub, or a local directory in its format (extra `hub`)."""

    repository: str
    configuration: str | None = None
    split: str = Field(default="train", description="Its split, slices included: train[:1000].")
    revision: str | None = Field(default=None, description="A commit or tag; pin it.")


class Source(Frozen):
    """Rows from files of the user's or from the Hub.

    A row that carries a `split` stays in it; otherwise splits are drawn. What is wrong in a file
    is an error; what is wrong in a row of the Hub, which the user cannot mend, leaves that row out,
    and is counted. Nothing is guessed: `stargate init` does that, and states what it has found.
    """

    file: Annotated[tuple[Path, ...], BeforeValidator(_several)] = Field(
        default=(),
        description="CSV, Excel, JSON, JSON lines or Parquet, also packed; a folder or pattern of "
        "such files; or a list.",
    )
    url: dict[str, str] = Field(
        default_factory=dict,
        description="https://..., s3://... or another of fsspec: the SHA-256 of its bytes.",
    )
    hub: HubDataSet | None = None
    encoding: Annotated[str, AfterValidator(_encoding)] = Field(
        default="utf-8", description="Of CSV and JSON, as Python calls it."
    )
    delimiter: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="Between the columns of CSV; else a comma, and in .tsv a tab.",
    )
    sheet: str | None = Field(default=None, description="Of an Excel file that has several.")
    skip_bad: bool = Field(
        default=False, description="Leave rows with faults out, counted, as from the Hub."
    )
    columns: dict[str, str | tuple[str, ...]] = Field(
        default_factory=dict,
        description="Our field: its column, where the names differ. Several are a statement of a "
        "persona each, or a paragraph of another text.",
    )
    unpivot: tuple[str, ...] = Field(
        default=(),
        description="Columns that each hold a text: a row of the file is as many of ours.",
    )
    names: Names = Field(
        default="column",
        description="Of personas: their column, drawn from lists that are shipped, found in the "
        "text, or none.",
    )
    statements: Statements = Field(
        default="sentences",
        description="What of a persona's text is a statement: a sentence, a line, or an item of a "
        "list in JSON. A list or several columns are statements whatever is stated.",
    )
    options: bool = Field(
        default=False,
        description="Whether tasks have options: a list, in CSV in JSON, or several columns. Each "
        "gold response is then one of them.",
    )
    third_person: bool = Field(
        default=False, description="Whether personas are described as others see them."
    )
    origin: str | None = Field(
        default=None, description="The published data set that the rows are of, and its licence."
    )
    transcript: Annotated[str, AfterValidator(_transcript)] | None = Field(
        default=None, description="What of the text is kept: a regular expression with (?P<text>)."
    )
    limit: PositiveInt | None = Field(
        default=None, description="At most this many rows, drawn before they are split."
    )
    sizes: Sizes | None = Field(
        default=None, description="Rows of each split; else all, in the paper's proportions."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if [bool(self.file), bool(self.url), self.hub is not None].count(True) != 1:
            raise ValueError("needs either a file, a url or a hub data set")
        return self


class TaskWriter(Frozen):
    """Tasks written by a model about `domains`, few-shot from `examples`."""

    model: ModelSpec
    domains: tuple[Annotated[str, AfterValidator(_domain)], ...] = Field(
        min_length=1, description="What the tasks are about, a few words each; a task's `domain`."
    )
    examples: Source
    sizes: Sizes = Sizes(train_a=250, train_b=250, test=50)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    answer_tokens: PositiveInt = Field(default=512, description="For ten tasks at most.")
    attempts: PositiveInt = Field(default=10, description="Most requests for one task.")


class PersonaWriter(Frozen):
    """Personas written by a model, few-shot from `examples` (section 4, "Persona Generation")."""

    model: ModelSpec
    examples: Source
    sizes: Sizes = Sizes(train_a=50, train_b=50, test=10)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    persona_tokens: PositiveInt = 384
    attempts: PositiveInt = Field(default=10, description="Most requests for one persona.")


class Oracle(Frozen):
    """Who writes the gold responses that are not recorded, greedily (section 4, "Gold
    Responses").
    """

    model: ModelSpec
    answer_tokens: PositiveInt = 512


class DataSet(Frozen):
    """Tasks, personas and gold responses."""

    seed: int = Field(default=0, ge=0)
    same_text: SameText = Field(
        default="marks",
        description="Which two texts are the same, but for case and spaces: those that differ in "
        "marks that cannot change what they say, or those that have the same words.",
    )
    tasks: Source | None = None
    task_writer: TaskWriter | None = None
    personas: Source | None = None
    persona_writer: PersonaWriter | None = None
    gold_responses: Source | None = Field(
        default=None, description="Recorded ones, which win over the Oracle's."
    )
    oracle: Oracle | None = None
    prompts: DataPrompts = Field(
        default=SHIPPED, description="Texts in place of the shipped prompts, by the prompt's name."
    )
    license: str | None = Field(
        default=None,
        description="What is published states it: the Hub's identifier, such as cc-by-4.0.",
    )

    @model_validator(mode="after")
    def _people(self) -> Self:
        if (self.tasks is None) == (self.task_writer is None):
            raise ValueError("needs either tasks or a task_writer")
        if (self.personas is None) == (self.persona_writer is None):
            raise ValueError("needs either personas or a persona_writer")
        if self.task_writer is not None and self.gold_responses is not None:
            raise ValueError("recorded gold_responses are of recorded tasks, not of written ones")
        if self.persona_writer is not None and self.gold_responses is not None:
            raise ValueError(
                "recorded gold_responses are of recorded personas, not of written ones"
            )
        return self

    @model_validator(mode="after")
    def _right_options(self) -> Self:
        others = (source for source in self.sources() if source is not self.tasks)
        if any(source.options for source in others):
            raise ValueError("options are what tasks have: state them under tasks")
        if self.has_options and (self.gold_responses is None or self.oracle is not None):
            raise ValueError(
                "tasks with options need recorded gold_responses, which say the right one, and no "
                "oracle"
            )
        return self

    @property
    def has_options(self) -> bool:
        """Whether each gold response is one of its task's options."""
        return self.tasks is not None and self.tasks.options

    @property
    def has_unusual_personas(self) -> bool:
        """Whether prompts must do without names, or with what others say of a person."""
        people = self.personas
        return people is not None and (people.names == "none" or people.third_person)

    @property
    def has_gold_responses(self) -> bool:
        """Whether an experiment can use it."""
        return self.gold_responses is not None or self.oracle is not None

    @property
    def writers(self) -> tuple["TaskWriter | PersonaWriter | Oracle", ...]:
        """Who writes of it what is not recorded."""
        written = (self.task_writer, self.persona_writer, self.oracle)
        return tuple(writer for writer in written if writer is not None)

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that it has; an experiment needs all of DATA_TABLES."""
        return DATA_TABLES if self.has_gold_responses else DATA_TABLES[:2]

    def sources(self) -> list[Source]:
        """Everything that is read."""
        tasks = self.task_writer.examples if self.task_writer else self.tasks
        written = self.persona_writer and self.persona_writer.examples
        return [s for s in (tasks, self.personas, written, self.gold_responses) if s]


def validate_data_set(name: str, stated: Mapping[str, Any], directory: Path) -> DataSet:
    """The data set that a defs.yaml states, or a DataError for the first field that is wrong.
    Relative files start from `directory`, the defs.yaml's own.
    """
    try:
        data_set = DataSet.model_validate(stated)
    except ValidationError as error:
        raise DataError(
            f"The data set {name} is not valid: {first_fault(error)}; correct its defs.yaml."
        ) from error
    for file in (file for source in data_set.sources() for file in source.file):
        refuse_outside(directory, file, f"The data set {name} names the file", DataError)
    return with_sources(
        data_set,
        lambda source: source.model_copy(
            update={"file": tuple((directory / file).resolve() for file in source.file)}
        ),
    )


def with_sources(data_set: DataSet, change: Callable[[Source], Source]) -> DataSet:
    """The data set with each of its sources changed."""
    changed: dict[str, object] = {
        name: change(source)
        for name in ("tasks", "personas", "gold_responses")
        if (source := getattr(data_set, name)) is not None
    }
    for name in ("task_writer", "persona_writer"):
        if (writer := getattr(data_set, name)) is not None:
            changed[name] = writer.model_copy(update={"examples": change(writer.examples)})
    return data_set.model_copy(update=changed)


def check_data_set(name: str, experiment: Experiment, data_sets: Mapping[str, DataSet]) -> None:
    """The data set of an experiment is there, has gold responses, and has options if they are
    selected by; or this is an ExperimentError.
    """
    usable = {
        other: data_set.has_options
        for other, data_set in sorted(data_sets.items())
        if data_set.has_gold_responses
    }
    if experiment.data_set not in usable:
        fault = "has no gold responses" if experiment.data_set in data_sets else "is not declared"
        raise ExperimentError(
            f"The experiment {name} names the data set {experiment.data_set!r}, which {fault}; "
            f"there are: {', '.join(usable)}."
        )
    objective = experiment.selection.objective
    if OBJECTIVES[objective].candidates == "options" and not usable[experiment.data_set]:
        raise ExperimentError(
            f"The experiment {name} selects by the objective {objective}, and the tasks of its "
            f"data set {experiment.data_set!r} have no options; state options: true under its "
            "tasks, or another objective."
        )
