"""A user's CSV files in many scripts: `python -m stargate_assets_tests.mixed_scripts DIRECTORY`
writes 1,000 tasks and 200 personas there.
"""

import csv
import random
import sys
from pathlib import Path

SUBJECTS = {
    "latin": ("dinner", "trip", "garden", "letter", "budget", "Übung", "señal", "naïveté"),
    "arabic": ("عشاء", "رحلة", "حديقة", "رسالة", "ميزانية"),
    "cjk": ("晚饭", "旅行", "花园", "信件", "预算"),
    "hebrew": ("ארוחה", "טיול", "גינה", "מכתב", "תקציב"),
    "emoji": ("🍲", "✈️", "🌱", "👩‍👩‍👧", "🇳🇵"),
}
TASKS = {
    "latin": "What should I do about my {0} and my {1}, number {2}?",
    "arabic": "ماذا أفعل بشأن {0} و{1} رقم {2}؟",
    "cjk": "关于第{2}个{0}和{1}我该怎么办？",
    "hebrew": "מה לעשות עם {0} ו{1} מספר {2}?",
    "emoji": "{0} {1} {2}, help?",
}
PEOPLE = {
    "latin": ("Zoë{0}", "I keep {1} boats. My {2} is number {1}."),
    "arabic": ("مريم{0}", "أملك {1} قوارب. أحب {2} كثيرا رقم {1}."),
    "cjk": ("小{0}明", "我有{1}条船。我喜欢第{1}个{2}。"),
    "hebrew": ("נועה{0}", "יש לי {1} סירות. אני אוהבת {2} מספר {1}."),
    "emoji": ("Kai{0}", "I own {1} 🚣. I like {2} best, all {1}."),
}
LETTERS = "abcdefghij"


def write_mixed_scripts(directory: Path, tasks: int = 1000, personas: int = 200) -> None:
    """tasks.csv (text, domain, kind) and personas.csv (name, text)."""
    draw, scripts = random.Random(0), list(TASKS)
    asked = [
        (
            TASKS[script].format(*draw.choices(SUBJECTS[script], k=2), number * 7919 % 100003),
            script,
            ("specific", "general")[number % 5 == 0],
        )
        for number, script in ((n, scripts[n % len(scripts)]) for n in range(tasks))
    ]
    people: list[tuple[str, str]] = []
    for number in range(personas):
        name, text = PEOPLE[script := scripts[number % len(scripts)]]
        letters = "".join(LETTERS[int(digit)] for digit in str(number))
        subject = draw.choice(SUBJECTS[script])
        people.append((name.format(letters), text.format(letters, number * 104729, subject)))
    directory.mkdir(parents=True, exist_ok=True)
    for file, header, rows in (
        ("tasks.csv", ("text", "domain", "kind"), asked),
        ("personas.csv", ("name", "text"), people),
    ):
        with (directory / file).open("w", newline="", encoding="utf-8") as opened:
            csv.writer(opened).writerows([header, *rows])


if __name__ == "__main__":
    write_mixed_scripts(Path(sys.argv[1]))
