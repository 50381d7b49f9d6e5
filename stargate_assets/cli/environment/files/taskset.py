"""The taskset and the environment of verifiers 0.4: the policy asks, a roleplayer replies, and a
scorer rewards the conversation.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import verifiers.v1 as vf  # pyright: ignore[reportMissingImports]

from stargate_assets.cli.environment.files.players import (
    SPLITS,
    Dialogue,
    open_players,
    read_dialogues,
    read_prompts,
)
from stargate_assets.method.conversation import Conversation, question_rate
from stargate_assets.method.eligibility import ineligibility

REWARD = "gold_log_prob_gain"


class StarGateData(vf.TaskData):
    split: str
    place: int
    """Of the dialogue in its split."""


class StarGateTask(vf.Task[StarGateData]):
    pass


class StarGateTasksetConfig(vf.TasksetConfig):
    split: Literal["train", "test"] = "train"


class StarGateTaskset(vf.Taskset[StarGateTask, StarGateTasksetConfig]):
    """Each task with each person of a split."""

    def load(self) -> Iterator[StarGateTask]:
        prompts = read_prompts()
        for place, dialogue in enumerate(read_dialogues(self.config.split)):
            *system, asked = prompts.questioner_messages(Conversation(dialogue.pair, 0))
            data = StarGateData(
                id="-".join(dialogue.pair.key),
                prompt=asked.content,
                system_prompt=system[0].content if system else None,
                split=self.config.split,
                place=place,
            )
            yield StarGateTask(data, self.config.task)


def _asking() -> Any:
    """An agent that talks and has no tools."""
    return vf.AgentConfig(harness={"id": "null"}, runtime=vf.SubprocessConfig())


class StarGateEnvConfig(vf.EnvConfig):
    questioner: vf.AgentConfig = _asking()


class StarGateEnv(vf.Env[StarGateEnvConfig]):
    """The policy is the one agent; who talks with it are `Players`."""

    async def start(self) -> None:
        self.players = open_players()
        self.held: dict[str, tuple[Dialogue, Conversation]] = {}
        self.dialogues = {split: read_dialogues(split) for split in SPLITS}

    async def run(self, task: StarGateTask, agents: Any) -> None:
        dialogue = self.dialogues[task.data.split][task.data.place]
        conversation = self.players.begin(dialogue)
        async with agents.questioner.interaction(task) as talk:
            said = await talk.turn()
            while not said.terminated:
                conversation = conversation.with_question(said.last_reply, talk.trace.is_truncated)
                (conversation,) = await asyncio.to_thread(self.players.reply, [conversation])
                if conversation.refused or len(conversation.answers) == dialogue.turns:
                    break
                heard = self.players.prompts.questioner_messages(conversation)[-1]
                said = await talk.turn(heard.content)
            self.held[talk.trace.id] = dialogue, conversation

    async def finalize(self, task: StarGateTask, episode: Any) -> None:
        for trace in episode.traces:
            dialogue, conversation = self.held.pop(trace.id)
            (reward,) = await asyncio.to_thread(self.players.rewards, [dialogue], [conversation])
            trace.record_reward(REWARD, reward)
            trace.record_metric("question_rate", question_rate(conversation.questions))
            trace.record_metric("eligible", float(ineligibility(conversation) is None))
