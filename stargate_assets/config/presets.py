"""Published data sets by name: the columns and form of their files, where they are from, and under
which licence. One entry in one table for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from stargate_assets.config.data_set import DataError


@dataclass(frozen=True, slots=True)
class Preset:
    """How the files of a published data set are read. `fields` are those of a source that differ
    from their defaults, and `repository` is where the Hub has it.
    """

    table: str
    title: str
    repository: str
    license: str
    fields: Mapping[str, object]

    @property
    def stated(self) -> dict[str, object]:
        """The fields of a source. Nobody can mend what is published, so rows with faults are left
        out and counted.
        """
        origin = f"{self.title} ({self.repository}), {self.license}"
        return {**self.fields, "skip_bad": True, "origin": origin}


def _preset(table: str, title: str, repository: str, license_: str, **fields: object) -> Preset:
    return Preset(table, title, repository, license_, MappingProxyType(fields))


PRESETS = {
    "alpaca": _preset(
        "tasks", "Alpaca", "tatsu-lab/alpaca", "cc-by-nc-4.0",
        columns={"text": ["instruction", "input"]},
    ),
    "hh-rlhf": _preset(
        "tasks", "HH-RLHF", "Anthropic/hh-rlhf", "mit",
        columns={"text": "chosen"},
        transcript=r"^\s*Human:\s*(?P<text>.+?)\s*Assistant:",
    ),
    "synthetic-persona-chat": _preset(
        "personas", "Synthetic-Persona-Chat", "google/Synthetic-Persona-Chat", "cc-by-4.0",
        unpivot=["user 1 personas", "user 2 personas"], statements="lines", names="drawn",
    ),
    "personahub": _preset(
        "personas", "PersonaHub", "proj-persona/PersonaHub", "cc-by-nc-sa-4.0",
        columns={"text": "persona"}, names="drawn", third_person=True,
    ),
    "nemotron-personas": _preset(
        "personas", "Nemotron-Personas", "nvidia/Nemotron-Personas-USA", "cc-by-4.0",
        columns={"text": ["persona", "cultural_background", "skills_and_expertise",
                          "hobbies_and_interests", "career_goals_and_ambitions"]},
        names="found", third_person=True,
    ),
    "prism": _preset(
        "personas", "PRISM", "HannahRoseKirk/prism-alignment", "cc-by-4.0",
        columns={"text": "self_description"}, names="drawn",
    ),
}  # fmt: skip


def split_preset(stated: str, table: str) -> tuple[Preset | None, str]:
    """The preset and the file of `alpaca:FILE`; any other text is a file. Raises DataError where
    the preset is of another table.
    """
    name, _, file = stated.partition(":")
    preset = PRESETS.get(name)
    if preset is None or file.startswith("//"):
        return None, stated
    if preset.table != table:
        raise DataError(f"{name} has {preset.table}, not {table}; give it as --{preset.table}.")
    return preset, file
