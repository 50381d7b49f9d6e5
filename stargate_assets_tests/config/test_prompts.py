"""Prompts in a defs.yaml: texts, files and names; ten bad ones are ten clear sentences."""

from pathlib import Path

import pytest

from stargate_assets.config.data_set import DataSet
from stargate_assets.config.experiment import ExperimentError, validate_experiment
from stargate_assets.config.prompts import PromptError, change_prompts, read_prompts
from stargate_assets.method.errors import StargateError
from stargate_assets.method.prompts import SHIPPED
from stargate_assets.method.templates import TEMPLATES, check_template, render

MODEL = {"engine": "scripted", "model": "any"}
STATED = {"data_set": "mini", "questioner": MODEL, "roleplayers": [{"model": MODEL}]}
HEADER = "type: x\nattributes:\n  name: mine\n  experiment:\n"
BAD = {
    "an unknown variable": (
        "closing",
        "{{ answer }}\n\n{{ question }}",
        "line 3: the prompt closing has no variable 'question'; "
        "its variables are: answer, name, task.",
    ),
    "a missing variable": (
        "closing",
        "Well.\n{{ task }}\n",
        "line 2: the prompt closing ends without the variable 'answer'; "
        "write {{ answer }} where it belongs.",
    ),
    "a tag that is not closed": (
        "opening",
        "Hello.\n{% if name %}{{ task }}",
        "line 2: this is not a Jinja template",
    ),
    "a brace that is not closed": (
        "opening",
        "{{ task",
        "line 1: this is not a Jinja template",
    ),
    "an unknown filter": (
        "oracle",
        "Know\n{{ persona | shout }}",
        "line 2: this is not a Jinja template (No filter named 'shout')",
    ),
    "an attribute of a text": (
        "roleplayer",
        "You are\n\n{{ persona.age }}",
        "line 3: this cannot be filled in",
    ),
    "another file": (
        "judge",
        "{% include 'x' %}{{ persona }}{{ task }}{{ a }}{{ b }}{{ closing }}",
        "line 1: this cannot be filled in",
    ),
    "a secret": (
        "questioner",
        "{{ ''.__class__.__mro__ }}",
        "line 1: this cannot be filled in",
    ),
    "a variable where there is none": (
        "persona_request",
        "Another than {{ name }}.",
        "line 1: the prompt persona_request has no variable 'name'; its variables are: none.",
    ),
    "two of three": (
        "persona_opening",
        "{{ task }}",
        "line 1: the prompt persona_opening ends without the variable 'persona'",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_ten_bad_prompt_files_are_ten_clear_sentences(tmp_path: Path, fault: str) -> None:
    template, text, complaint = BAD[fault]
    (tmp_path / "mine.j2").write_text(text)
    with pytest.raises(PromptError) as caught:
        read_prompts({"prompts": {template: "mine.j2"}}, tmp_path / "defs.yaml")
    assert str(caught.value).startswith(f"{tmp_path / 'mine.j2'}, {complaint}")


def test_a_fault_in_place_is_told_of_with_its_line_in_the_defs_yaml(tmp_path: Path) -> None:
    text = "{{ answer }}\n\n{{ tsk }}\n"
    (tmp_path / "defs.yaml").write_text(
        f"{HEADER}    prompts:\n      opening: 'Hi. {{{{ task }}}}'\n---\n"
        f"{HEADER}    prompts:\n      closing: |\n"
        + "".join(f"        {line}\n" for line in text.splitlines())
    )
    with pytest.raises(PromptError, match=r"defs.yaml, line 16: .* no variable 'tsk'"):
        read_prompts({"prompts": {"closing": text}}, tmp_path / "defs.yaml")


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        ("gone.j2", r"names the prompt .*gone.j2, which cannot be read \(No such file"),
        ("nonesuch", r"no prompt of the package is called 'nonesuch'; name one of questioner,"),
    ],
)
def test_what_is_not_there_is_told_of(tmp_path: Path, stated: str, complaint: str) -> None:
    with pytest.raises(PromptError, match=complaint):
        read_prompts({"regularization": {"prompt": stated}}, tmp_path / "defs.yaml")


def test_a_prompt_is_a_file_a_name_or_a_text(tmp_path: Path) -> None:
    (tmp_path / "in words.j2").write_text("{{ answer }} Be brief.")
    fields = {
        "seed": 3,
        "prompts": {"closing": "in words.j2", "opening": "{{task}}"},
        "regularization": {"prompt": "instructed"},
    }
    read = read_prompts(fields, tmp_path / "defs.yaml")
    assert read == {
        "seed": 3,
        "prompts": {"closing": "{{ answer }} Be brief.", "opening": "{{task}}"},
        "regularization": {"prompt": SHIPPED.text("instructed")},
    }
    told = validate_experiment("mine", STATED | read).told
    assert told.text("closing") == "{{ answer }} Be brief."
    assert told.text("asking") == SHIPPED.text("asking")


def test_what_own_answers_are_made_under_is_what_the_arm_instructed_is_told() -> None:
    stated = {"regularization": {"prompt": "{{ answer }} Use it."}}
    assert validate_experiment("mine", STATED | stated).told.text("instructed") == (
        "{{ answer }} Use it."
    )


@pytest.mark.parametrize(
    ("stated", "complaint"),
    [
        ({"prompts": {"oracle": "{{ persona }}"}}, "prompts: there is no prompt 'oracle'"),
        ({"prompts": {"closing": "No."}}, "ends without the variable 'answer'"),
        ({"prompts": "closing.j2"}, "prompts: state a mapping from prompts to texts"),
        ({"prompts": {"closing": 3}}, "the prompt closing is not a text"),
        (
            {"regularization": {"response": "gold", "prompt": "{{ answer }}"}},
            "regularization: a prompt is for own answers",
        ),
    ],
)
def test_what_an_experiment_cannot_be_told_is_refused(
    stated: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ExperimentError) as caught:
        validate_experiment("mine", STATED | stated)
    assert complaint in str(caught.value)


def test_a_data_set_has_prompts_of_its_own() -> None:
    files = {"tasks": {"file": "t.csv"}, "personas": {"file": "p.csv"}}
    stated = files | {"oracle": {"model": MODEL}, "prompts": {"oracle": "Know {{ persona }}."}}
    prompts = DataSet.model_validate(stated).prompts
    assert prompts.text("oracle") == "Know {{ persona }}."


def test_changing_prompts_leaves_the_stated_fields_alone() -> None:
    fields = {"prompts": {"closing": "one", "unheard_of": "two"}, "seed": 1}
    changed = change_prompts(fields, lambda stated, template, place: (stated, template, place))
    assert changed["prompts"] == {
        "closing": ("one", "closing", ("prompts", "closing")),
        "unheard_of": "two",
    }
    assert fields["prompts"]["closing"] == "one"  # pyright: ignore[reportIndexIssue]


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_shipped_prompt_fits(template: str) -> None:
    check_template(template, SHIPPED.text(template))


def test_what_people_wrote_is_a_value() -> None:
    assert render("{{ answer }}!", answer="{{ 7 * 7 }}") == "{{ 7 * 7 }}!"


def test_the_errors_are_the_users_to_mend() -> None:
    assert issubclass(PromptError, StargateError)
