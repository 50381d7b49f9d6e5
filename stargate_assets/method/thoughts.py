"""What a reasoning model thinks, told apart from what it says: a thought is kept beside a
completion, and is in no text.

Models mark a thought in one of two ways: a block between two marks, which a prompt may have opened
already, or messages on channels of which one alone is meant for the user.
"""

import re
from dataclasses import dataclass

from stargate_assets.method.hygiene import without_control_characters
from stargate_assets.method.language_model import Completion, FinishReason

BLOCKS = {
    "<think>": "</think>",  # Qwen3, DeepSeek, SmolLM3 and most others
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",  # Magistral
    "<|channel>thought": "<channel|>",  # Gemma 4
    "<unused94>thought": "<unused95>",  # MedGemma
    "<|START_THINKING|>": "<|END_THINKING|>",  # Command A
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
    "◁think▷": "◁/think▷",  # Kimi-VL
}
"""The marks around a thought: what opens it, and what closes it."""
CHANNEL, SAID_ON = "<|channel|>", "final"
"""What gpt-oss writes before the name of a channel, and the one that is meant for the user."""
CHANNEL_TOKENS = frozenset(
    {CHANNEL, "<|start|>", "<|message|>", "<|constrain|>", "<|end|>", "<|call|>", "<|return|>"}
)
BLOCK_TOKENS = frozenset({*BLOCKS, *BLOCKS.values(), "<|channel>", "<unused94>"})

_MARK = re.compile("|".join(map(re.escape, (*BLOCKS, *BLOCKS.values()))))
_ON_CHANNELS = re.compile(r"\s*(?:<\|start\|>\w+)?<\|channel\|>")
_END_OF_MESSAGE = re.compile(r"<\|(?:start|end|call|return)\|>")
_CHANNELS_WITHOUT_MARKS = re.compile(r"\s*analysis(.*?)assistantfinal(.*)", re.DOTALL)
"""What is left of two channels where a server drops the tokens that mark them."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """What was written, in its parts. `closed` is false where it ends within a thought."""

    text: str
    thought: str | None = None
    closed: bool = True


def split_thoughts(written: str, opened: str = "") -> Utterance:
    """Tell text from thoughts. `opened` is what `opened_thought` finds in the prompt."""
    if _ON_CHANNELS.match(written):
        return _split_channels(written)
    if bare := _CHANNELS_WITHOUT_MARKS.fullmatch(written):
        return Utterance(bare[2], _joined([bare[1]]))
    if not opened and not _MARK.search(written):
        return Utterance(written)
    return _split_blocks(opened + written)


def opened_thought(prompt: str) -> str:
    """What opens a thought at the end of a prompt; empty where none is open."""
    marks = list(_MARK.finditer(prompt))
    if not marks or marks[-1][0] not in BLOCKS or prompt[marks[-1].end() :].strip():
        return ""
    return prompt[marks[-1].start() :]


def read_completion(
    written: str,
    finish_reason: FinishReason,
    prompt_tokens: int,
    completion_tokens: int,
    *,
    opened: str = "",
    thought: str | None = None,
) -> Completion:
    """The completion that a model wrote, its thoughts apart. One that ends within a thought ran out
    of tokens before it said anything. `thought` is what came apart already. Characters that no
    table takes become replacement marks here, where they enter.
    """
    found = split_thoughts(written, opened)
    return Completion(
        text=without_control_characters(found.text).strip(),
        finish_reason=finish_reason if found.closed else "length",
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        thought=_joined(
            [without_control_characters(part or "") for part in (thought, found.thought)]
        ),
    )


def _split_blocks(written: str) -> Utterance:
    said, thoughts = list[str](), list[str]()
    while mark := _MARK.search(written):
        before, written = written[: mark.start()], written[mark.end() :]
        if mark[0] not in BLOCKS:  # it was opened by the prompt, out of sight
            thoughts += [*said, before]
            said = []
            continue
        said.append(before)
        thought, end, written = written.partition(BLOCKS[mark[0]])
        thoughts.append(thought)
        if not end:
            return Utterance("".join(said), _joined(thoughts), closed=False)
    return Utterance("".join([*said, written]), _joined(thoughts))


def _split_channels(written: str) -> Utterance:
    said, thoughts = list[str](), list[str]()
    _, *messages = written.split(CHANNEL)
    for message in messages:
        header, _, body = message.partition("<|message|>")
        body = _END_OF_MESSAGE.split(body, maxsplit=1)[0]
        on_channel = said if header.split()[:1] == [SAID_ON] else thoughts
        on_channel.append(body)
    return Utterance("".join(said), _joined(thoughts), closed=bool(said))


def _joined(thoughts: list[str]) -> str | None:
    return "\n\n".join(filter(None, map(str.strip, thoughts))) or None
