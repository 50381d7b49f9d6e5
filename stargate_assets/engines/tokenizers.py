"""A model's tokenizer where the model itself is not wanted, and the date that its template shows.

A chat template may write what is not in the messages: today's date, as Llama 3.2's does. Prompts
would then differ from day to day, while what they were answered is kept under the messages alone.
So every template is told one date, which is part of the identity of the models that show it.
"""

from contextlib import suppress
from datetime import date
from functools import cache
from string import ascii_letters
from typing import Any
from urllib.request import urlopen

from stargate_assets.engines.loading import describe_loading_fault
from stargate_assets.method.language_model import EngineError

TEMPLATE_DATE = date(2024, 7, 26)
"""The day that chat templates are told. Another makes every stored call of the models that show it
another call.
"""
ASKS_FOR_DATE = "strftime_now"
"""The function by which templates ask for it. transformers' own returns today's date, and takes no
function in its place, so the template is given a macro of that name.
"""
_DATE_MACRO = f"""\
{{%- macro {ASKS_FOR_DATE}(format) -%}}
{{%- set written = namespace(text=format) -%}}
{{%- for directive, value in date_directives.items() -%}}
{{%- set written.text = written.text | replace(directive, value) -%}}
{{%- endfor -%}}
{{{{ written.text }}}}
{{%- endmacro +%}}"""
_DATE_DIRECTIVES = {
    f"%{flag}{letter}": TEMPLATE_DATE.strftime(f"%{flag}{letter}")
    for flag in ("", "-")
    for letter in ascii_letters
    if letter != "s"  # which depends on the time zone
}
HUB_PATIENCE_SECONDS = 3.0


def template_date(tokenizer: Any) -> str | None:
    """The date that a tokenizer's chat template shows, if it asks for one."""
    template = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    return TEMPLATE_DATE.isoformat() if ASKS_FOR_DATE in template else None


def date_arguments(tokenizer: Any) -> dict[str, Any]:
    """What `apply_chat_template` is told besides the messages, so that the date is ours."""
    if template_date(tokenizer) is None:
        return {}
    template = _DATE_MACRO + tokenizer.get_chat_template()
    return {"chat_template": template, "date_directives": _DATE_DIRECTIVES}


def find_tokenizer(path: str, revision: str | None) -> Any:
    """A model's Hugging Face tokenizer, without its weights; None where it is neither on disk nor
    on a hub that answers. What was found is kept, and what was not is looked for again.
    """
    with suppress(OSError, ValueError):  # also of a gated model, and of a name that is no model's
        return _read_tokenizer(path, revision, on_disk=True)
    if hub_answers():
        with suppress(OSError, ValueError):
            return _read_tokenizer(path, revision, on_disk=False)
    return None


@cache
def _read_tokenizer(path: str, revision: str | None, on_disk: bool) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            path, revision=revision or "main", local_files_only=on_disk
        )
    except (OSError, ValueError):
        raise
    except Exception as error:  # of a damaged file the library raises the bare class
        raise EngineError(describe_loading_fault(path, error)) from error


@cache
def hub_answers() -> bool:
    """Whether the hub can be reached. Asked once and briefly: its own client retries for most of a
    minute.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        urlopen(constants.ENDPOINT, timeout=HUB_PATIENCE_SECONDS).close()  # noqa: S310
    except OSError:
        return False
    return True
