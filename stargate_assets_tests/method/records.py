"""Records in the shape that the publishers of external evaluations give theirs, with texts of our
own.
"""

from typing import Any

Record = dict[str, Any]


def _detail(description: str, importance: str, inquiry: str, *options: str) -> Record:
    return {
        "description": description,
        "importance": importance,
        "inquiry": inquiry,
        "options": list(options),
    }


def _task(category: str, text: str, *details: Record) -> Record:
    return {
        "category": category,
        "task": text,
        "vague": bool(details),
        "thought": "",
        "missing_details": list(details),
    }


VAGUE = [
    _task(
        "Leisure",
        "Plan a trip for me.",
        _detail("Destination", "3", "What is your destination?", "Lisbon", "Bergen"),
        _detail("Way to travel", "1", "Do you travel by train?", "By train", "By ship, if I can."),
    ),
    _task(
        "Leisure",
        "Find a song for the evening.",
        _detail("Mood", "2", "Which mood should it have?", "Calm", "Merry"),
        _detail("Language", "2", "In which language?", "Dutch", "Korean"),
    ),
    _task(
        "Home",
        "Write a list of groceries.",
        _detail("Diet", "3", "Do you keep to a diet?", "Vegan", "None"),
        _detail("Budget", "2", "What is your budget?", "Up to 40 euros", "Over 90 euros"),
    ),
]
CLEAR = [_task("Home", "How many grams are in a pound?")]
TASKS: list[Record] = [*VAGUE, *CLEAR]
PATIENTS: list[Record] = [
    {
        "id": 0,
        "question": "What is the best next step?",
        "context": ["A sailor has a swollen knee", "It was twisted yesterday"],
        "options": {"A": "Rest", "B": "Surgery"},
        "answer": "Rest",
        "answer_idx": "A",
        "facts": ["1. The knee was twisted yesterday.", "2. The skin is not hot."],
        "decisive": "twisted",
    },
    {
        "id": 1,
        "question": "Which of these explains the cough?",
        "context": "A cook coughs at work. The kitchen is dusty.",
        "options": {"A": "A cold", "B": "Flour dust"},
        "answer": "Flour dust",
        "answer_idx": "B",
        "facts": ["1. The cough stops on holidays.", "2. There is no fever."],
        "decisive": "holidays",
    },
]
"""`decisive` is a word of the fact that decides; publishers have no such field."""
