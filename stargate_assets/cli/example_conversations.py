"""What a policy asks before and after training, for a few pairs of the test split."""

from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from stargate_assets.cli.driver import find_experiment
from stargate_assets.definitions.project import Project
from stargate_assets.method.arms import draw_conversations
from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.plan import TEST_SPLIT
from stargate_assets.method.simulation import Cell
from stargate_assets.method.splits import draw
from stargate_assets.pipeline.assets.report_page import experiment_tables
from stargate_assets.pipeline.assets.rows import conversations_from_rows, pairs_from_rows

PAIRS = 3


@dataclass(frozen=True, slots=True)
class ExamplePair:
    """A pair, and what each policy talked about with its person, by the policy's index."""

    pair: Pair
    conversations: dict[int, Conversation]


def example_conversations(project: Project, name: str) -> list[ExamplePair]:
    """Pairs of different tasks and, as far as there are enough, different people, drawn by key;
    their conversations with the base model and the latest policy are those that the compared
    responses answer.
    """
    experiment = find_experiment(project, name)
    tables = experiment_tables(project.warehouse, name, experiment)
    tested = tables.tested("conversations")
    if not tested.height:
        return []
    pairs = pairs_from_rows(tables.tested("tasks"), tables.tested("personas"))
    people = draw(sorted({p.persona.persona_id for p in pairs}), PAIRS, "example", TEST_SPLIT)
    tasks = draw(sorted({p.task.task_id for p in pairs}), PAIRS, "example", TEST_SPLIT)
    chosen = {(task, people[i % len(people)]) for i, task in enumerate(tasks)}
    talked: dict[int, dict[tuple[str, str], Conversation]] = {}
    policies = tested["iteration"].unique().sort().to_list()
    for policy in dict.fromkeys((policies[0], policies[-1])):
        conversations = conversations_from_rows(tested.filter(iteration=policy), pairs)
        cell = Cell(policy, TEST_SPLIT)
        talked[policy] = draw_conversations(conversations, cell, experiment.seed)
    return [
        ExamplePair(pair, {policy: of_pair[pair.key] for policy, of_pair in talked.items()})
        for pair in pairs
        if pair.key in chosen
    ]


def print_example_conversations(console: Console, examples: list[ExamplePair]) -> None:
    """For each pair its task, and the conversation of each policy, question by question."""
    for example in examples:
        name = example.pair.persona.known_as
        console.print(f"\n[bold]{escape(name)}[/bold]: {escape(example.pair.task.text)}")
        for policy, conversation in example.conversations.items():
            for question, answer in zip(conversation.questions, conversation.answers, strict=True):
                console.print(
                    f"  policy {policy} asks: {escape(_one_line(question))}", soft_wrap=True
                )
                console.print(f"  {escape(name)} says: {escape(_one_line(answer))}", soft_wrap=True)


def _one_line(text: str) -> str:
    return " ".join(text.split())
