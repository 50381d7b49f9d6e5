"""Messages as chat templates take them, and what a template writes around an assistant's message.

A prompt may open what the template does not write for a message that it keeps (DeepSeek's
`<think>`), and a kept message may begin with words that the prompt has not (an empty thought of
Qwen3's, gpt-oss's channel `final`, Mistral's space). What is learnt and scored is the kept form.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from stargate_assets.method.language_model import Message
from stargate_assets.method.thoughts import opened_thought
from stargate_assets.method.tokens import shared_length

ASKED = Message("user", "zxqusr")
ANSWERED = Message("assistant", "zxqans")
SPACED = Message("assistant", f"\n {ANSWERED.content} \n")
"""What templates are tried with, to see how they write an answer."""

_HALF_A_MARK = re.compile(r"[<\[][^<>\[\]\s]*$")
_STRIPPED: dict[str, str | None] = {"\n ": "", " ": "\n", "": None}
"""What is left of the white space before an answer, and the characters that are stripped there;
None is all white space.
"""


def turns(messages: Sequence[Message], has_system_role: bool) -> list[dict[str, str]]:
    """Messages as templates take them. Without a system role the system text opens the first
    user message.
    """
    plain = [{"role": m.role, "content": m.content} for m in messages]
    if has_system_role or not plain or plain[0]["role"] != "system":
        return plain
    system, first, *rest = plain
    return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *rest]


@dataclass(frozen=True, slots=True)
class TurnForm:
    """How a template writes an assistant's message that it keeps."""

    dropped: str = ""
    """The end of a prompt, which opens a thought, and which is not written here."""
    before: str = ""
    """What stands between the prompt and the message."""
    after: str = ""
    """What follows the message."""
    anchor: str = ""
    """What stands between the user's message and `before`, or the message where that is empty:
    after it a message is tokenised, because a token may look otherwise at the start of a text.
    """
    left: str | None = ""
    """The characters stripped from the message's start; None is all white space."""
    right: str | None = ""

    @property
    def differs(self) -> bool:
        """Whether a kept message is more, or less, than the prompt and what was said."""
        return bool(self.dropped or self.before.strip())

    def strip(self, text: str) -> str:
        """A message as the template writes it."""
        return text.lstrip(self.left).rstrip(self.right)


def read_turn_form(prompt: str, kept: str, spaced: str) -> TurnForm:
    """How a template writes an answer: `prompt` is its rendering of ASKED with the answer's turn
    opened, `kept` that of ASKED and ANSWERED, `spaced` that of ASKED and SPACED.
    """
    common = _HALF_A_MARK.sub("", prompt[: shared_length(prompt, kept)])
    dropped = prompt[len(common) :]
    before, found, after = kept[len(common) :].partition(ANSWERED.content)
    anchor = common.partition(ASKED.content)[2]
    if not found or ASKED.content not in common:
        return TurnForm()
    left, _, right = spaced.removeprefix(common + before).partition(ANSWERED.content)
    right = right.removesuffix(after)
    edges = _STRIPPED.get(left, ""), _STRIPPED.get(right[::-1], "")
    if dropped and not opened_thought(dropped):
        # A thought that is opened and closed says not to think: answers are sampled after it.
        return TurnForm("", "", after, prompt.partition(ASKED.content)[2], *edges)
    return TurnForm(dropped, before, after, anchor, *edges)


def split_turn(
    anchor: Sequence[int], before: Sequence[int], whole: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The tokens before a message, and its own, of the tokens of the anchor, of the anchor with
    `before`, and of the anchor with `before` and the message. A token that reaches into the message
    is its own. None where a token reaches over the anchor's end: it cannot be written after it.
    """
    start, same = len(anchor), shared_length(before, whole)
    if min(same, shared_length(anchor, whole)) < start:
        return None
    return tuple(whole[start:same]), tuple(whole[same:])
