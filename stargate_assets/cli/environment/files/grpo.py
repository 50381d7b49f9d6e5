"""One way to train a policy on this environment: TRL's GRPO, whose `rollout_func` holds whole
conversations.

    python -m stargate_assets.cli.environment.files.grpo MODEL --output DIRECTORY --steps 100

Only what the policy says carries loss; what the user says is masked.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from stargate_assets.cli.environment.files.players import (
    Dialogue,
    Players,
    open_players,
    read_dialogues,
    read_settings,
)
from stargate_assets.method.conversation import Conversation
from stargate_assets.method.prompts import Prompts

Messages = list[dict[str, str]]


@dataclass
class Rollout:
    """A conversation, and its tokens: those of the first prompt, and all that came after."""

    dialogue: Dialogue
    conversation: Conversation
    prompt: list[int]
    completion: list[int] = field(default_factory=list[int])
    said_by_policy: list[int] = field(default_factory=list[int])
    """1 for each token of the completion that the policy wrote, 0 for the others."""

    @property
    def is_over(self) -> bool:
        asked = len(self.conversation.answers)
        return self.conversation.refused or asked == self.dialogue.turns

    def extend(self, tokens: Sequence[int], *, by_policy: bool) -> None:
        self.completion += tokens
        self.said_by_policy += [int(by_policy)] * len(tokens)


def policy_messages(prompts: Prompts, conversation: Conversation) -> Messages:
    """What the policy sees before it asks."""
    return [asdict(message) for message in prompts.questioner_messages(conversation)]


def between(tokenizer: Any, before: Messages, question: str, after: Messages) -> str:
    """What the chat template writes between a question and the next one."""
    written = tokenizer.apply_chat_template(before, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template(after, tokenize=False, add_generation_prompt=True)
    if not whole.startswith(written + question):
        raise ValueError("This chat template rewrites what was said; take a model with another.")
    return whole[len(written + question) :]


def generate(
    trainer: Any, rollouts: Sequence[Rollout], sampling: dict[str, Any]
) -> list[list[int]]:
    """What the policy says next in each conversation."""
    import torch

    tokenizer = trainer.processing_class
    batch = tokenizer.pad(
        {"input_ids": [r.prompt + r.completion for r in rollouts]},
        padding_side="left",
        return_tensors="pt",
    ).to(trainer.accelerator.device)
    model = trainer.accelerator.unwrap_model(trainer.model)
    with torch.no_grad():
        tokens = model.generate(**batch, do_sample=True, **sampling)
    ends = {tokenizer.eos_token_id}
    said: list[list[int]] = []
    for row in tokens[:, batch["input_ids"].shape[1] :].tolist():
        stop = next((i + 1 for i, token in enumerate(row) if token in ends), len(row))
        said.append(row[:stop])
    return said


def make_rollout(players: Players, dialogues: dict[str, Dialogue]) -> Any:
    """The `rollout_func` of a trainer. `dialogues` are by their first prompt, as JSON."""
    stated = players.settings["asking"]
    sampling = {
        "max_new_tokens": stated["max_tokens"],
        "temperature": stated["temperature"],
        "top_p": stated["top_p"],
        "top_k": 0,
    }

    def roll_out(prompts: list[Messages], trainer: Any) -> dict[str, Any]:
        tokenizer = trainer.processing_class
        rollouts: list[Rollout] = []
        for sample, messages in enumerate(prompts):
            dialogue = dialogues[json.dumps(messages)]
            text = tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
            ids = tokenizer(text, add_special_tokens=False)["input_ids"]
            rollouts.append(Rollout(dialogue, players.begin(dialogue, sample), ids))
        while active := [r for r in rollouts if not r.is_over]:
            said = generate(trainer, active, sampling)
            asked: list[Conversation] = []
            for rollout, tokens in zip(active, said, strict=True):
                rollout.extend(tokens, by_policy=True)
                question = tokenizer.decode(tokens, skip_special_tokens=True)
                truncated = tokens[-1] != tokenizer.eos_token_id
                asked.append(rollout.conversation.with_question(question, truncated))
            for rollout, replied, tokens in zip(active, players.reply(asked), said, strict=True):
                before = policy_messages(players.prompts, rollout.conversation)
                rollout.conversation = replied
                if rollout.is_over:
                    continue
                after = policy_messages(players.prompts, replied)
                text = between(tokenizer, before, replied.questions[-1], after)
                ids = tokenizer(text, add_special_tokens=False)["input_ids"]
                if tokens[-1] == ids[0]:  # the policy has ended its turn itself
                    ids = ids[1:]
                rollout.extend(ids, by_policy=False)
        conversations = [r.conversation for r in rollouts]
        rewards = players.rewards([r.dialogue for r in rollouts], conversations)
        return {
            "prompt_ids": [r.prompt for r in rollouts],
            "completion_ids": [r.completion for r in rollouts],
            "logprobs": None,  # TRL computes them
            "env_mask": [r.said_by_policy for r in rollouts],
            "gain": rewards,
        }

    return roll_out


def gold_log_prob_gain(gain: list[float], **_: Any) -> list[float]:
    """The reward, which the rollout has computed."""
    return gain


def train(model: str, output: str, steps: int, **stated: Any) -> Any:
    """Train a policy; `stated` are more fields of GRPOConfig. Of pairs that a policy could not tell
    apart, because the same name asks the same, one is taken.
    """
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer  # pyright: ignore[reportMissingImports]

    players = open_players()
    dialogues: dict[str, Dialogue] = {}
    for dialogue in read_dialogues("train"):
        first = policy_messages(players.prompts, Conversation(dialogue.pair, 0))
        dialogues.setdefault(json.dumps(first), dialogue)
    most = read_settings()["max_turns"] * read_settings()["asking"]["max_tokens"]
    fields = {"max_steps": steps, "max_completion_length": most, "report_to": "none", **stated}
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=gold_log_prob_gain,
        args=GRPOConfig(output_dir=output, **fields),
        train_dataset=Dataset.from_list([{"prompt": json.loads(first)} for first in dialogues]),
        rollout_func=make_rollout(players, dialogues),
    )
    trainer.train()
    trainer.save_model(output)
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a policy to ask, by TRL's GRPO.")
    parser.add_argument("model")
    parser.add_argument("--output", required=True)
    parser.add_argument("--steps", type=int, default=100)
    stated = parser.parse_args()
    train(stated.model, stated.output, stated.steps)


if __name__ == "__main__":
    main()
