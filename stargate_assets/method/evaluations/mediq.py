"""mediQ (Li et al. 2024): a patient of whom little is said at first, and a question with options
that more facts decide.

How much of what all facts would win do the policy's questions win? The base model chooses among the
options by log-probability: after the first sentence alone, after the policy's K questions, and with
all facts. As with the publishers, the first sentence is that of the patient's context.
"""

import re
from collections.abc import Mapping, Sequence

from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.evaluations.kind import (
    NAME,
    Asked,
    Figure,
    Item,
    ItemError,
    Kind,
    Outcome,
    Values,
    as_sentence,
    item_id,
    one,
    read_list,
    read_text,
    value_of,
)
from stargate_assets.method.multiple_choice import choose
from stargate_assets.method.text import sentences

WHEN = ("before", "after", "all")
_KNOWING = {
    "before": "before any question",
    "after": "after the policy's questions",
    "all": "with all facts",
}
MEASURES = {
    **{
        f"right_{when}": f"1 if the base model chooses the right option {knowing}, else 0"
        for when, knowing in _KNOWING.items()
    },
    **{
        f"log_prob_{when}": f"Log-probability of the right option {knowing}, in nats, normalised "
        "over the options"
        for when, knowing in _KNOWING.items()
    },
}
_NUMBER = re.compile(r"^\s*\d+[.)]\s*")


def read_item(record: Mapping[str, object]) -> Item:
    """A patient of mediQ: the first sentence, the question and the options are the task, the facts
    what the user knows.
    """
    stated, right = record.get("options"), record.get("answer_idx")
    if not isinstance(stated, Mapping) or right not in stated:
        raise ItemError("options and answer_idx do not agree")
    by_letter: Mapping[str, object] = stated  # pyright: ignore[reportUnknownVariableType]
    options = {letter: str(text).strip() for letter, text in by_letter.items() if text is not None}
    facts = [_NUMBER.sub("", str(fact)) for fact in read_list(record, "facts")]
    if not facts:
        raise ItemError("facts has none")
    listed = "\n".join(f"{letter}. {text}" for letter, text in options.items())
    first = as_sentence(_first_sentence(record))
    task = f"{first} {read_text(record, 'question')}\n{listed}"
    task_id = item_id(task)
    known = " ".join(as_sentence(fact) for fact in facts)
    pair = Pair(Task(task_id, task), Persona(task_id, NAME, known))
    place = list(options).index(str(right))
    return Item(pair, task_id, options=tuple(options.values()), right=place)


def _first_sentence(record: Mapping[str, object]) -> str:
    context = record.get("context")
    if isinstance(context, list) and context:
        return str(context[0])  # pyright: ignore[reportUnknownArgumentType]
    return sentences(read_text(record, "context"))[0]


def measure(
    items: Sequence[Item], conversations: Sequence[Conversation], asked: Asked
) -> list[Outcome]:
    """What the base model chooses for each patient, knowing more or less."""
    prompts, pairs = asked.prompts, [item.pair for item in items]
    contexts = {
        "before": [prompts.negative_control_messages(pair) for pair in pairs],
        "after": [prompts.respondent_messages(c) for c in conversations],
        "all": [prompts.positive_control_messages(pair) for pair in pairs],
    }
    values: list[dict[str, float]] = [{} for _ in items]
    for when in WHEN:
        asking = zip(contexts[when], (item.options for item in items), strict=True)
        choices = choose(asked.scorer, list(asking), f"choosing, {_KNOWING[when]}")
        for found, choice, item, c in zip(values, choices, items, conversations, strict=True):
            if choice is not None and not (when == "after" and c.refused):
                found[f"right_{when}"] = float(choice.chooses(item.right))
                found[f"log_prob_{when}"] = choice.log_probs[item.right]
    return [
        Outcome(item, c, found) for item, c, found in zip(items, conversations, values, strict=True)
    ]


def _accuracy(when: str) -> Figure:
    measured = f"right_{when}"
    return Figure(f"accuracy {_KNOWING[when]}", (measured,), value_of(measured), one)


def _headroom(measured: str, label: str) -> Figure:
    """(after - before) / (all - before)"""
    before, after, known = (f"{measured}_{when}" for when in WHEN)

    def won(values: Values) -> float:
        return values[after] - values[before]

    def there(values: Values) -> float:
        return values[known] - values[before]

    return Figure(label, (before, after, known), won, there, is_share=False)


def _log_prob(when: str) -> Figure:
    measured = f"log_prob_{when}"
    label = f"log p(right option) {_KNOWING[when]}, nats"
    return Figure(label, (measured,), value_of(measured), one, is_share=False)


KIND = Kind(
    "patients, a question with options, and the facts that decide it",
    read_item,
    measure,
    MEASURES,
    (
        *map(_accuracy, WHEN),
        _headroom("right", "headroom won, of accuracy"),
        *map(_log_prob, WHEN),
        _headroom("log_prob", "headroom won, of log p"),
    ),
)
