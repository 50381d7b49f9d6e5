"""`stargate prompts`: what each role of an experiment sees of one pair, as messages or as the text
that its model reads.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from rich.console import Console
from rich.markup import escape

from stargate_assets.cli.driver import DriverError, find_experiment
from stargate_assets.cli.estimate.sample import PairSample, sample_pairs
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.definitions.project import Project
from stargate_assets.engines.chat_tokenizer import ChatTokenizer
from stargate_assets.engines.tokenizers import find_tokenizer
from stargate_assets.method.arms import BASE
from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.examples import IGNORED, Dialogue, tokenise
from stargate_assets.method.language_model import Message
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.simulation import Cell
from stargate_assets.method.written_tasks import MOST_LINES
from stargate_assets.pipeline.assets.rows import conversations_from_rows
from stargate_assets.storage.io_manager import slice_of

STAND_IN_QUESTIONS = ("What should I know about you?", "What else matters to you here?")
LEARNT = "⟦", "⟧"
"""They enclose, in a raw text, what is learnt."""


@dataclass(frozen=True, slots=True)
class ShownPrompt:
    """What a role sees. `learnt` is the dialogue that is learnt under this prompt, if one is."""

    role: str
    model: ModelSpec
    messages: tuple[Message, ...]
    learnt: Dialogue | None = None


def shown_prompts(project: Project, name: str, number: int) -> list[ShownPrompt]:
    """What the roles of an experiment see of a test pair, after the base model's first conversation
    about it, or after one that is made up where nothing was simulated yet. The gold response stands
    for answers. Raises DriverError for a pair that there is not.
    """
    experiment = find_experiment(project, name)
    data_set = project.data_sets[experiment.data_set]
    of_split = sample_pairs(project, experiment.data_set, TEST_SPLIT)
    if number >= len(of_split.every):
        raise DriverError(
            f"{experiment.data_set} has {len(of_split.every)} test pairs; choose one from 0 to "
            f"{len(of_split.every) - 1}."
        )
    pair, told, policy = of_split.every[number], experiment.told, experiment.questioner
    talked = _conversation(project, name, of_split, pair)
    answer = of_split.gold.get(pair.key, "")
    answered = Message("assistant", answer)
    asking, answering = told.questioner_messages(talked), told.respondent_messages(talked)
    shown = [
        ShownPrompt("questioner", policy, asking[:-2], Dialogue("question", asking[:-1])),
        *(
            ShownPrompt(f"roleplayer {r.label}", r.model, told.roleplayer_messages(talked)[:-1])
            for r in experiment.roleplayers_of(TEST_SPLIT)
            if r.replies == "generated"
        ),
        ShownPrompt(
            "respondent and scorer", policy, answering, Dialogue("answer", (*answering, answered))
        ),
        ShownPrompt("respondent, instructed", policy, told.instructed_messages(talked)),
        ShownPrompt("scorer, negative control", policy, told.negative_control_messages(pair)),
        ShownPrompt("scorer, positive control", policy, told.positive_control_messages(pair)),
    ]
    for judge in experiment.judges:
        role = "judge" if judge == experiment.judge else f"judge {judge.label}"
        if judge.method == "fit":
            known, unknown = told.fit_messages(pair)
            contexts = {f"{role}, who knows the person": known, f"{role}, who does not": unknown}
        else:
            written = judge.method == "written"
            contexts = {role: told.judge_messages(pair, answer, answer, written=written)}
        shown += [ShownPrompt(role, judge.model, seen) for role, seen in contexts.items()]
    if data_set.oracle is not None:
        messages = data_set.prompts.oracle_messages(pair)
        shown.append(ShownPrompt("oracle", data_set.oracle.model, messages))
    if (tasks := data_set.task_writer) is not None:
        messages = data_set.prompts.task_writer_messages([], tasks.domains[0], MOST_LINES)
        shown.append(ShownPrompt("task writer", tasks.model, messages))
    if data_set.persona_writer is not None:
        messages = data_set.prompts.persona_writer_messages([pair.persona])
        shown.append(ShownPrompt("persona writer", data_set.persona_writer.model, messages))
    return shown


def _conversation(project: Project, name: str, of_split: PairSample, pair: Pair) -> Conversation:
    cell = Cell(BASE, TEST_SPLIT).key
    if ("conversations", cell) in project.warehouse.materializations(name):
        rows = project.warehouse.read(name, "conversations", [slice_of(cell)])
        for conversation in conversations_from_rows(rows, of_split.every):
            if conversation.pair == pair:
                return conversation
    made_up = Conversation(pair, 0)
    for question, answer in zip(STAND_IN_QUESTIONS, pair.persona.statements, strict=False):
        made_up = made_up.with_question(question, truncated=False).with_answer(answer)
    return made_up


def print_prompts(console: Console, shown: Sequence[ShownPrompt]) -> None:
    """Each prompt, message by message."""
    for prompt in shown:
        _print_heading(console, prompt)
        for message in prompt.messages:
            console.print(f"[dim]{message.role}:[/dim] {escape(message.content)}", soft_wrap=True)


def print_raw_prompts(console: Console, project: Project, shown: Sequence[ShownPrompt]) -> None:
    """Each prompt as the text that its model reads, with what is learnt between `LEARNT`."""
    for prompt in shown:
        _print_heading(console, prompt)
        spec = prompt.model
        tokenizer = find_tokenizer(project.models.path(spec), spec.revision)
        if tokenizer is None or spec.entry.remote:
            console.print(f"The chat template of {escape(spec.label)} is not to be had here.")
            continue
        chat = ChatTokenizer(tokenizer, spec.model, spec.chat_template_kwargs)
        for text in raw_texts(prompt, chat):
            console.print(escape(text), soft_wrap=True)


def raw_texts(prompt: ShownPrompt, chat: ChatTokenizer) -> Iterator[str]:
    """The text of a prompt after the chat template; where something is learnt under it, of each of
    its examples.
    """
    if prompt.learnt is None:
        yield chat.tokenizer.decode(chat.prompt_ids(prompt.messages))
        return
    for example in tokenise(prompt.learnt, chat):
        parts: list[str] = []
        pairs = zip(example.tokens, example.labels, strict=True)
        for learnt, group in groupby(pairs, key=lambda pair: pair[1] != IGNORED):
            text = chat.tokenizer.decode([token for token, _ in group])
            parts.append(f"{LEARNT[0]}{text}{LEARNT[1]}" if learnt else text)
        yield "".join(parts)


def _print_heading(console: Console, prompt: ShownPrompt) -> None:
    console.print(f"\n[bold]{prompt.role}[/bold] ({escape(prompt.model.label)})", soft_wrap=True)
