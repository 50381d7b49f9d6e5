"""How a policy is fine-tuned."""

from typing import Literal, Self

from pydantic import Field, PositiveInt, model_validator

from stargate_assets.config.model_spec import Frozen
from stargate_assets.method.examples import Labels


class Training(Frozen):
    """Always from the base model. Full fine-tuning with the paper's schedule unless said
    otherwise.
    """

    method: Literal["full", "lora"] = "full"
    learning_rate: float = Field(default=2e-5, gt=0)
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    epochs: PositiveInt = 1
    batch_size: PositiveInt = Field(default=64, description="Examples a step, over all devices.")
    device_batch_size: PositiveInt = Field(
        default=4, description="Examples computed together; the rest of a step is accumulated."
    )
    lora_rank: PositiveInt = 16
    lora_alpha: PositiveInt = 32
    labels: Labels = Field(
        default="assistant",
        description="Which turns carry loss. The second is a fault of the authors' code, whose "
        "masking skipped the last reply: the policy learns to speak as the user.",
    )
    max_grad_norm: float = Field(default=1.0, gt=0)
    loss: Literal["sft", "dpo", "sft_then_dpo", "weighted_sft", "reinforce"] = Field(
        default="sft",
        description="sft: the paper's; dpo: the questions of kept conversations preferred to those "
        "of their eligible siblings; sft_then_dpo: the same after sft; weighted_sft: the questions "
        "of every eligible conversation that is better than its siblings, by how much; reinforce: "
        "of every eligible conversation, towards the better ones and away from the others.",
    )
    dpo_beta: float = Field(default=0.1, gt=0)
    start_from: Literal["base", "previous"] = Field(
        default="base",
        description="What is fine-tuned: the base model, as in the paper, or the policy before.",
    )
    standardise_advantages: bool = Field(
        default=False,
        description="Whether weighted_sft and reinforce divide advantages by the spread of a "
        "pair's conversations; nats otherwise.",
    )
    advantage_temperature: float = Field(
        default=1.0,
        gt=0,
        description="Of weighted_sft: a conversation weighs exp(advantage / temperature).",
    )
    clip: float = Field(
        default=0.2,
        gt=0,
        lt=1,
        description="Of reinforce: how far a token's probability may move from that with which it "
        "was sampled, as a share of it, before it teaches nothing more.",
    )
    kl_weight: float = Field(
        default=0.04,
        ge=0,
        description="Of reinforce: the weight of the divergence from the base model, in nats.",
    )

    @property
    def fine_tunes(self) -> bool:
        return self.loss != "dpo"

    @property
    def compares(self) -> bool:
        return self.loss in ("dpo", "sft_then_dpo")

    @property
    def weighs(self) -> bool:
        """Whether every eligible conversation teaches, and not the best alone."""
        return self.loss in ("weighted_sft", "reinforce")

    @model_validator(mode="after")
    def _weighs_questions(self) -> Self:
        if self.weighs and self.labels != "assistant":
            raise ValueError(f"loss {self.loss} weighs questions alone: leave out labels")
        return self
