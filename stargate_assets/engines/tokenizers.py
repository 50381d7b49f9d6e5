"""A model's tokenizer where the model itself is not wanted, and the date in its chat template."""

from datetime import date
from functools import cache
from typing import Any
from urllib.request import urlopen

HUB_PATIENCE_SECONDS = 3.0
TEMPLATE_DATE = "2024-07-26"
"""The day that chat templates which ask for the date are told, whatever day it is: a prompt is then
the same tomorrow, and a run that is resumed finds what it has been answered.
"""


def template_date(tokenizer: Any) -> str | None:
    """The date that a tokenizer's chat template adds to messages; None if it adds none."""
    template = getattr(tokenizer, "chat_template", None)
    return TEMPLATE_DATE if "strftime_now" in str(template) else None


def format_template_date(layout: str) -> str:
    """What a chat template is answered that asks for the date."""
    return date.fromisoformat(TEMPLATE_DATE).strftime(layout)


@cache
def find_tokenizer(path: str, revision: str | None) -> Any:
    """A model's tokenizer, without the model; None where it is neither on disk nor on a hub that
    answers.
    """
    from transformers import AutoTokenizer

    for on_disk in (True, False):
        if not on_disk and not _hub_answers():
            return None
        try:
            return AutoTokenizer.from_pretrained(
                path, revision=revision or "main", local_files_only=on_disk
            )
        except (OSError, ValueError):  # also of a gated model, and of a name that is no model's
            continue
    return None


@cache
def _hub_answers() -> bool:
    """Asked once and briefly: the hub's own client retries for most of a minute."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        urlopen(constants.ENDPOINT, timeout=HUB_PATIENCE_SECONDS).close()  # noqa: S310
    except OSError:
        return False
    return True
