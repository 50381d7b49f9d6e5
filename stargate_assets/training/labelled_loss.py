"""Logits where there is a label and nowhere else: most tokens are context, and on a small model the
vocabulary costs more than the layers.
"""

from types import MethodType
from typing import Any

import torch

from stargate_assets.config.training import Training
from stargate_assets.engines.head import find_decoder, find_head
from stargate_assets.method.examples import IGNORED
from stargate_assets.training.policy_gradient import policy_losses
from stargate_assets.training.preferences import margins, preference_losses


def learn_where_labelled(causal: Any, training: Training) -> None:
    """Give a causal model a `forward` that returns the loss of the labelled tokens, nothing else.
    With `reference` the rows are pairs, chosen and rejected in turn, and the loss compares them.
    With `weights` a row's tokens weigh that much; those of rows that have `sampled` and `base`
    log-probabilities (`has_sampled`) are rewarded instead.

    It takes the place of the model's own, so that mixed precision, and whatever spreads the model
    over devices, act on it.
    """
    decoder, head = find_decoder(causal), find_head(causal)

    def forward(
        self: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int,
        reference: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
        has_sampled: torch.Tensor | None = None,
        sampled: torch.Tensor | None = None,
        base: torch.Tensor | None = None,
        **_: Any,
    ) -> dict[str, torch.Tensor]:
        targets = labels[:, 1:]
        learnt = targets != IGNORED
        hidden = decoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        logits = head(hidden[:, :-1][learnt])
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        nats = torch.nn.functional.cross_entropy(logits, targets[learnt], reduction="none")
        row_of = learnt.nonzero()[:, 0]
        if weights is not None:
            weight = weights[row_of]
            losses = weight * nats
            if has_sampled is not None and sampled is not None and base is not None:
                before, under_base = (t[:, 1:][learnt] for t in (sampled, base))
                rewarded = policy_losses(
                    -nats,
                    before,
                    under_base,
                    weight,
                    clip=training.clip,
                    kl_weight=training.kl_weight,
                )
                losses = torch.where(has_sampled[row_of], rewarded, losses)
            return {"loss": losses.sum() / num_items_in_batch}
        if reference is None:
            return {"loss": nats.sum() / num_items_in_batch}
        rows = nats.new_zeros(len(labels)).index_add(0, row_of, -nats)
        above = margins(rows, len(reference))
        total = preference_losses(above, reference, training.dpo_beta).sum()
        return {"loss": total / num_items_in_batch, "margins": above.detach()}

    causal.forward = MethodType(forward, causal)
