"""Who asked and who answered: the arms that separate what a policy asks from how it answers.

The paper compares policy i with the base model, which differ in both. Here every arm is compared
with the base model's answer on its own conversation, and all of them answer
under one prompt (`respondent_messages`), so that no arm has an instruction that the other lacks.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from stargate_assets.method.conversation import Conversation, Pair
from stargate_assets.method.keys import derive_seed
from stargate_assets.method.labels import Labelled
from stargate_assets.method.language_model import ChatRequest, LanguageModel, Message, Sampling
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.simulation import Cell

BASE = 0
"""The untrained policy's index."""


Party = Literal["policy", "base"]
"""Who plays in an arm of a cell: the cell's own policy, or the base model."""


class Arm(StrEnum):
    """An arm is one entry: its name in tables; what people read; who asks (nobody, where the answer
    comes at once) and who answers; whether the answer is told to use what was heard; and whether
    the cells of the base model have it, and those of later policies.
    """

    METHOD = "method", "policy asks and answers", "policy", "policy", False, True, True
    BASE_ANSWERS = (
        "base_answers", "policy asks, base answers", "policy", "base", False, False, True,
    )  # fmt: skip
    """The paper's base_response."""
    BASE_ASKS = "base_asks", "base asks, policy answers", "base", "policy", False, False, True
    NO_QUESTIONS = "no_questions", "policy answers at once", None, "policy", False, True, True
    INSTRUCTED = (
        "instructed", "base, told to use what was said", "base", "base", True, True, False,
    )  # fmt: skip

    label: str
    asks: Party | None
    answers: Party
    instructed: bool
    of_base: bool
    of_policies: bool

    def __new__(
        cls,
        value: str,
        label: str,
        asks: Party | None,
        answers: Party,
        instructed: bool,
        of_base: bool,
        of_policies: bool,
    ) -> "Arm":
        arm = str.__new__(cls, value)
        arm._value_ = value
        arm.label, arm.asks, arm.answers, arm.instructed = label, asks, answers, instructed
        arm.of_base, arm.of_policies = of_base, of_policies
        return arm


REFERENCE_ARM = Arm.METHOD
"""In a cell of policy 0: the base model's answer on its own conversation."""


class Reference(Labelled):
    """What a response is compared with."""

    BASE = "base", "the base model asks and answers"
    BASE_ASKS = "base_asks", "the base model asks, the policy answers"
    """Isolates asking: both responses are by a policy that can use what it hears."""


@dataclass(frozen=True, slots=True)
class Players:
    """Policies by index; nobody asks where the answer comes at once."""

    asker: int | None
    answerer: int


def arms_of(iteration: int, wanted: Collection[Arm] = tuple(Arm)) -> dict[Arm, Players]:
    """The arms of policy `iteration`'s cells, of those that are wanted, in their order."""
    index = {"policy": iteration, "base": BASE, None: None}
    return {
        arm: Players(index[arm.asks], iteration if arm.answers == "policy" else BASE)
        for arm in Arm
        if (arm.of_base if iteration == BASE else arm.of_policies) and arm in wanted
    }


def judged_arms(
    iteration: int, wanted: Collection[Arm] = tuple(Arm)
) -> list[tuple[Reference, Arm]]:
    """The arms that are compared with each reference."""
    arms = arms_of(iteration, wanted)
    judged = [(Reference.BASE, a) for a in arms if (iteration, a) != (BASE, REFERENCE_ARM)]
    if {Arm.METHOD, Arm.BASE_ASKS} <= arms.keys():
        judged.append((Reference.BASE_ASKS, Arm.METHOD))
    return judged


@dataclass(frozen=True, slots=True)
class Response:
    """What the answerer said to a pair's task after conversation `sample` of the asker's, which had
    `turns` questions. `refused`: a content filter stopped it, or that conversation.
    """

    pair: Pair
    arm: Arm
    players: Players
    sample: int | None
    turns: int
    text: str
    truncated: bool = False
    refused: bool = False


def answered_conversations(
    responses: Sequence[Response], conversations: Mapping[int, Sequence[Conversation]]
) -> list[tuple[Response, Conversation]]:
    """Each response with the conversation that it answers, which has no turn where nobody asked.
    `conversations` are by the asker's index; a response whose conversation is not among them is
    left out.
    """
    by_asker = {asker: {c.key: c for c in of_one} for asker, of_one in conversations.items()}

    def find(response: Response) -> Conversation | None:
        asker, sample = response.players.asker, response.sample
        if asker is None or sample is None:
            return Conversation(response.pair, 0)
        return by_asker.get(asker, {}).get((*response.pair.key, sample))

    return [(r, conversation) for r in responses if (conversation := find(r)) is not None]


def draw_conversations(
    conversations: Sequence[Conversation], cell: Cell, seed: int
) -> dict[tuple[str, str], Conversation]:
    """One conversation of each pair, eligible or not, drawn by key. `cell` is where they were held,
    so that two arms with the same asker answer after the same conversation.
    """
    by_pair: dict[tuple[str, str], list[Conversation]] = {}
    for conversation in conversations:
        by_pair.setdefault(conversation.pair.key, []).append(conversation)

    def drawn(key: tuple[str, str]) -> Conversation:
        draw = random.Random(derive_seed(seed, "response", cell.iteration, cell.split, *key))
        return draw.choice(sorted(by_pair[key], key=lambda c: c.sample))

    return {key: drawn(key) for key in by_pair}


def respond(
    answerers: Mapping[int, LanguageModel],
    conversations: Mapping[int, Sequence[Conversation]],
    pairs: Sequence[Pair],
    cell: Cell,
    *,
    seed: int,
    sampling: Sampling,
    wanted: Collection[Arm] = tuple(Arm),
    prompts: Prompts,
) -> list[Response]:
    """Each pair's response in each wanted arm of the cell, in the order of arms and pairs.
    `answerers` and `conversations` are by the policy's index. One call for each answerer.
    """
    arms = arms_of(cell.iteration, wanted)
    heard = {
        asker: draw_conversations(of_asker, Cell(asker, cell.split), seed)
        for asker, of_asker in conversations.items()
    }
    responses: dict[tuple[Arm, Pair], Response] = {}
    for answerer, model in answerers.items():
        asked: list[Response] = []
        requests: list[ChatRequest] = []
        for arm, players in arms.items():
            if players.answerer != answerer:
                continue
            for pair in pairs:
                said = None if players.asker is None else heard[players.asker][pair.key]
                sample, turns = (said.sample, len(said.questions)) if said else (None, 0)
                response = Response(pair, arm, players, sample, turns, "")
                if said is not None and said.refused:
                    responses[arm, pair] = replace(response, refused=True)
                    continue
                asked.append(response)
                requests.append(ChatRequest(_messages(arm, pair, said, prompts), sampling))
        completions = model.chat(requests, "answering for evaluation")
        for response, completion in zip(asked, completions, strict=True):
            responses[response.arm, response.pair] = replace(
                response,
                text=completion.text,
                truncated=completion.finish_reason == "length",
                refused=completion.finish_reason == "refused",
            )
    return [responses[arm, pair] for arm in arms for pair in pairs]


def _messages(
    arm: Arm, pair: Pair, said: Conversation | None, prompts: Prompts
) -> tuple[Message, ...]:
    if said is None:
        return prompts.negative_control_messages(pair)
    context = prompts.instructed_messages if arm.instructed else prompts.respondent_messages
    return context(said)
