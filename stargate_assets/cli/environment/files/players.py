"""The data, who replies, and the reward: all that a trainer needs besides the policy."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stargate_assets.cli.environment.files.endpoint import Endpoint
from stargate_assets.method.conversation import Conversation, Pair, Persona, Task
from stargate_assets.method.keys import derive_seed
from stargate_assets.method.language_model import LanguageModel, Sampling, ScoreRequest
from stargate_assets.method.prompts import Prompts
from stargate_assets.method.roleplay import Reply, choose_replies, generate_replies
from stargate_assets.method.simulation import Cell, draw_roleplayer, turn_count

SPLITS = ("train", "test")
DATA = Path(__file__).parent / "data"
SCORER, ROLEPLAYER = "STARGATE_SCORER", "STARGATE_ROLEPLAYER"


@dataclass(frozen=True)
class Dialogue:
    """A pair that a conversation can be about, with what the reward needs to know of it."""

    pair: Pair
    gold_response: str
    turns: int
    """How many questions the policy may ask."""
    cell: Cell


@dataclass(frozen=True)
class Players:
    """Who talks with the policy, and who rewards it."""

    settings: dict[str, Any]
    prompts: Prompts
    roleplayer: LanguageModel
    scorer: LanguageModel

    def begin(self, dialogue: Dialogue, sample: int = 0) -> Conversation:
        """A conversation in which nothing is said yet."""
        names = list(self.settings["roleplayers"])
        seed = self.settings["seed"]
        name = draw_roleplayer(seed, dialogue.cell, dialogue.pair, sample, names)
        return Conversation(dialogue.pair, sample, name)

    def reply(self, conversations: Sequence[Conversation]) -> list[Conversation]:
        """The conversations, which end with what the policy has said, with the user's reply."""
        replied = dict[int, Conversation]()
        for name, stated in self.settings["roleplayers"].items():
            places = [i for i, c in enumerate(conversations) if c.roleplayer == name]
            asked = [conversations[i] for i in places]
            seeds = [self._seed(c) for c in asked]
            said = self._reply_of(stated)(asked, seeds) if asked else []
            for place, conversation, answer in zip(places, asked, said, strict=True):
                replied[place] = conversation.with_answer(answer)
        return [replied[i] for i in range(len(conversations))]

    def rewards(
        self, dialogues: Sequence[Dialogue], conversations: Sequence[Conversation]
    ) -> list[float]:
        """log p(gold response | conversation) - log p(gold response | task alone) under the scorer,
        in nats.
        """
        requests = [
            ScoreRequest(messages, dialogue.gold_response)
            for dialogue, conversation in zip(dialogues, conversations, strict=True)
            for messages in (
                self.prompts.respondent_messages(conversation),
                self.prompts.negative_control_messages(dialogue.pair),
            )
        ]
        distinct = list(dict.fromkeys(requests))
        scores = self.scorer.score(distinct, "scoring gold responses")
        totals = dict(zip(distinct, (score.total for score in scores), strict=True))
        after, alone = requests[::2], requests[1::2]
        return [totals[a] - totals[b] for a, b in zip(after, alone, strict=True)]

    def _reply_of(self, stated: dict[str, Any]) -> Reply:
        if stated["replies"] == "chosen":
            return partial(choose_replies, self.roleplayer)
        sampling = Sampling(stated["answer_tokens"], stated["temperature"])
        return partial(generate_replies, self.roleplayer, sampling, self.prompts)

    def _seed(self, conversation: Conversation) -> int:
        turn = len(conversation.answers)
        return derive_seed(self.settings["seed"], "answer", *conversation.key, turn)


def read_settings() -> dict[str, Any]:
    return json.loads((DATA / "settings.json").read_text(encoding="utf-8"))


def read_prompts() -> Prompts:
    """The prompts of the experiment."""
    return Prompts(read_settings()["prompts"])


def read_dialogues(split: str) -> list[Dialogue]:
    """Every pair of the split that has a gold response."""
    stated = read_settings()
    lines = (DATA / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    found: list[Dialogue] = []
    for row in map(json.loads, lines):
        persona = Persona(
            row["persona_id"],
            row["name"],
            row["persona"],
            tuple(row["statements"]),
            row["third_person"],
        )
        pair = Pair(Task(row["task_id"], row["task"], row["kind"]), persona)
        cell = Cell(0, row["split"])
        turns = turn_count(stated["seed"], cell, pair, stated["max_turns"])
        found.append(Dialogue(pair, row["gold_response"], turns, cell))
    return found


def open_players() -> Players:
    """The players whose endpoints the environment states."""
    return Players(read_settings(), read_prompts(), Endpoint(ROLEPLAYER), Endpoint(SCORER))
