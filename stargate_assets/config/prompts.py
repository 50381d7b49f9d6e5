"""Prompts as a defs.yaml states them: in place, in a file beside it, or by the name of a text that
comes with the package.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import yaml
from pydantic import PlainSerializer, PlainValidator

from stargate_assets.config.paths import refuse_outside
from stargate_assets.method.errors import DeclarationError
from stargate_assets.method.prompts import SHIPPED, Prompts
from stargate_assets.method.templates import (
    DATA_TEMPLATES,
    EXPERIMENT_TEMPLATES,
    TEMPLATES,
    TemplateFaultError,
    check_template,
)

FILE_SUFFIX = ".j2"


class PromptError(DeclarationError):
    """A prompt cannot be used. The message names the file and the line."""


def _validator(templates: Collection[str]) -> PlainValidator:
    def validate(stated: object) -> Prompts:
        if isinstance(stated, Prompts):
            return stated
        if not isinstance(stated, Mapping):
            raise ValueError("state a mapping from prompts to texts")
        texts = cast("Mapping[object, object]", stated)
        for name, text in texts.items():
            if name not in templates:
                there = ", ".join(templates)
                raise ValueError(f"there is no prompt {name!r}; there are: {there}")
            check_text(str(name), text)
        return Prompts({str(name): str(text) for name, text in texts.items()})

    return PlainValidator(validate, json_schema_input_type=dict[str, str])


def check_text(template: str, text: object) -> str:
    """The text of a template, or a ValueError that says what is wrong with it."""
    if not isinstance(text, str):
        raise ValueError(f"the prompt {template} is not a text")
    try:
        check_template(template, text)
    except TemplateFaultError as error:
        raise ValueError(str(error)) from error
    return text


_TO_MAPPING = PlainSerializer(lambda prompts: dict(prompts.replaced), return_type=dict[str, str])
ExperimentPrompts = Annotated[Prompts, _validator(EXPERIMENT_TEMPLATES), _TO_MAPPING]
DataPrompts = Annotated[Prompts, _validator(DATA_TEMPLATES), _TO_MAPPING]


def read_prompts(fields: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The fields of an experiment or data set that the defs.yaml at `path` states, with the texts
    of its prompts instead of names and files. Raises PromptError.
    """
    return change_prompts(
        fields, lambda stated, template, place: _read_prompt(stated, template, path, place)
    )


def change_prompts(
    fields: Mapping[str, Any], change: Callable[[object, str, tuple[str, ...]], object]
) -> dict[str, Any]:
    """The fields with `change(stated, template, place)` for each prompt that is stated in them; a
    place is the keys that lead to it.
    """
    found = dict(fields)
    for *parents, last, template in _places(fields):
        inner = found
        for parent in parents:
            inner[parent] = dict(inner[parent])
            inner = inner[parent]
        inner[last] = change(inner[last], template, (*parents, last))
    return found


def _places(fields: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Where prompts are stated: the keys that lead there, and the template that each stands for."""
    places: list[tuple[str, ...]] = []
    prompts = fields.get("prompts")
    if isinstance(prompts, Mapping):
        names = map(str, cast("Mapping[object, object]", prompts))
        places += [("prompts", name, name) for name in names if name in TEMPLATES]
    regularization = fields.get("regularization")
    if isinstance(regularization, Mapping) and "prompt" in regularization:
        places.append(("regularization", "prompt", "instructed"))
    return places


def _read_prompt(stated: object, template: str, path: Path, place: tuple[str, ...]) -> object:
    """The text that is meant: one line that ends in .j2 is a file, one word is the name of a text
    of the package, and anything else is the text.
    """
    if not isinstance(stated, str):  # which the experiment or data set complains of
        return stated
    one_line = "\n" not in stated.strip()
    if one_line and stated.endswith(FILE_SUFFIX):
        refuse_outside(path.parent, Path(stated), f"{path} names the prompt", PromptError)
        source, first, text = path.parent / stated, 1, _read_file(path.parent / stated, path)
    elif stated and not any(letter.isspace() or letter == "{" for letter in stated):
        if stated not in TEMPLATES:
            raise PromptError(
                f"{path}, line {_line(path, place, stated)}: no prompt of the package is called "
                f"{stated!r}; name one of {', '.join(TEMPLATES)}, a file that ends in "
                f"{FILE_SUFFIX}, or write the text itself."
            )
        return SHIPPED.text(stated)
    else:
        source, first, text = path, _line(path, place, stated), stated
    try:
        check_template(template, text)
    except TemplateFaultError as error:
        line = first + error.line - 1
        raise PromptError(f"{source}, line {line}: {error.fault}.") from error
    return text


def _read_file(file: Path, path: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise PromptError(
            f"{path} names the prompt {file}, which cannot be read ({error.strerror}); correct the "
            "path, which starts from the folder of the defs.yaml."
        ) from error
    except UnicodeDecodeError as error:
        raise PromptError(f"{file} is not UTF-8; save the file as UTF-8.") from error


def _line(path: Path, place: tuple[str, ...], text: str) -> int:
    """The line of a defs.yaml in which this text at `place` begins; 1 if it cannot be found."""
    if not path.is_file():  # what `stargate new` is about to write
        return 1
    for document in yaml.compose_all(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader):
        for section in ("experiment", "data_set"):
            node = _descend(document, ("attributes", section, *place))
            if node is not None and node.value == text:
                block = getattr(node, "style", None) in ("|", ">")
                return node.start_mark.line + 1 + block
    return 1


def _descend(node: yaml.Node | None, keys: tuple[str, ...]) -> yaml.Node | None:
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for name, value in node.value if name.value == key), None)
    return node
