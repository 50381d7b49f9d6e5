"""The texts of prompts as templates: which variables each may use, and what is wrong with one.

Shipped texts stand in `prompts/`. User text is only ever the value of a variable, never a template.
"""

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from stargate_assets.method.errors import StargateError


class TemplateFaultError(StargateError):
    """A template cannot be used. The message is what is wrong with it, `line` where, from 1."""

    def __init__(self, line: int, fault: str) -> None:
        super().__init__(f"line {line}: {fault}")
        self.line, self.fault = line, fault


@dataclass(frozen=True, slots=True)
class Variables:
    """What a template must use, and what it may use besides."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return *self.required, *self.optional


_WHO = ("name", "task")
EXPERIMENT_TEMPLATES = {
    "questioner": Variables((), _WHO),
    "asking": Variables(("message",), _WHO),
    "opening": Variables(("task",), ("name",)),
    "closing": Variables(("answer",), _WHO),
    "respondent": Variables((), _WHO),
    "instructed": Variables(("answer",), _WHO),
    "persona_opening": Variables(("persona", "task"), ("name", "third_person")),
    "roleplayer": Variables(("persona",), (*_WHO, "third_person")),
    "judge": Variables(("persona", "task", "a", "b", "closing"), ("name", "third_person")),
    "judge_written": Variables((), ("name",)),
    "judge_again": Variables((), ("name",)),
    "judge_choice": Variables((), ("name",)),
}
"""The templates that an experiment may replace."""
DATA_TEMPLATES = {
    "oracle": Variables(("persona",), (*_WHO, "third_person")),
    "task_writer": Variables(),
    "task_request": Variables(("domain", "count")),
    "task_example": Variables(("kind", "task")),
    "persona_writer": Variables(),
    "persona_request": Variables(),
    "persona_example": Variables(("persona", "name")),
}
"""Those that a data set may replace."""
TEMPLATES = EXPERIMENT_TEMPLATES | DATA_TEMPLATES

_ENVIRONMENT = ImmutableSandboxedEnvironment(
    undefined=StrictUndefined,
    autoescape=False,  # the output is text for a model, not HTML
    keep_trailing_newline=False,
)
_ENVIRONMENT.globals.clear()  # a prompt is text and variables  # pyright: ignore[reportUnknownMemberType]
_CHOICE = re.compile(r"{% if (name|third_person) %}(.*?)(?:{% else %}(.*?))?{% endif %}", re.DOTALL)
_COMMENT = re.compile(r"\{#.*?#\}\s*", re.DOTALL)


@cache
def shipped_text(template: str) -> str:
    """The text of a template that comes with the package."""
    path = files("stargate_assets.method") / "prompts" / f"{template}.j2"
    return path.read_text(encoding="utf-8")


def without_comments(text: str) -> str:
    """What of a template's text makes a difference to what is rendered."""
    return _COMMENT.sub("", text)


def for_named_first_person(text: str) -> str:
    """A shipped text as it is for a persona with a name who speaks for itself: what is said of
    others can change without a difference to it.
    """
    return _CHOICE.sub(lambda found: found[2] if found[1] == "name" else found[3] or "", text)


@lru_cache(maxsize=1024)
def render(text: str, /, **values: str | bool) -> str:
    """Fill a template in; white space at both ends is left out. What is said to all conversations
    of a pair is rendered once, and is one string in all their requests.
    """
    return _compile(text).render(**values).strip()


@cache
def _compile(text: str) -> Template:
    return _ENVIRONMENT.from_string(text)


def check_template(template: str, text: str) -> None:
    """Raises TemplateFaultError for the first fault of a text that is to stand for a template."""
    variables = TEMPLATES[template]
    try:
        tree = _ENVIRONMENT.parse(text)
        used = meta.find_undeclared_variables(tree)
    except TemplateSyntaxError as error:
        fault = f"this is not a Jinja template ({(error.message or '').rstrip('.')}); correct it"
        raise TemplateFaultError(error.lineno, fault) from error
    for node in tree.find_all(nodes.Name):
        if node.name in used.difference(variables.all):
            known = ", ".join(variables.all) or "none"
            raise TemplateFaultError(
                node.lineno,
                f"the prompt {template} has no variable {node.name!r}; its variables are: {known}",
            )
    for name in variables.required:
        if name not in used:
            raise TemplateFaultError(
                text.count("\n", 0, len(text.rstrip())) + 1,
                f"the prompt {template} ends without the variable {name!r}; write "
                f"{{{{ {name} }}}} where it belongs",
            )
    try:
        _ENVIRONMENT.from_string(text).render({name: name for name in variables.all})
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        fault = f"this cannot be filled in ({str(error).rstrip('.')}); correct it"
        raise TemplateFaultError(_line_of(error), fault) from error


def _line_of(error: BaseException) -> int:
    """The line of the template in which an error arose."""
    line, trace = getattr(error, "lineno", None) or 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
