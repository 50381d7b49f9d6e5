"""Logits where there is a label and nowhere else: most tokens are context, and on a small model the
vocabulary costs more than the layers.
"""

from types import MethodType
from typing import Any

import torch

from stargate_assets.method.examples import IGNORED
from stargate_assets.training.preferences import margins, preference_losses

TOKENS_OF_A_PROBE = 16


def learn_where_labelled(causal: Any, dpo_beta: float) -> None:
    """Give a causal model a `forward` that returns the loss of the labelled tokens, nothing else.
    With `reference` the rows are pairs, chosen and rejected in turn, and the loss compares them.

    It takes the place of the model's own, so that mixed precision, and whatever spreads the model
    over devices, act on it. Models that do more to their logits than one product compute them all.
    """
    whole, plain_head = causal.forward, list[bool]()

    def forward(
        self: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int,
        reference: torch.Tensor | None = None,
        **_: Any,
    ) -> dict[str, torch.Tensor]:
        def decoded(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return self.get_decoder()(input_ids=tokens, attention_mask=mask).last_hidden_state

        head = self.get_output_embeddings()
        if not plain_head:  # the first time
            probe = [part[:1, :TOKENS_OF_A_PROBE] for part in (input_ids, attention_mask)]
            with torch.no_grad():
                expected = whole(input_ids=probe[0], attention_mask=probe[1]).logits.float()
                found = head(decoded(*probe)).float()
            plain_head.append(torch.allclose(expected, found, rtol=1e-3, atol=1e-3))
        targets = labels[:, 1:]
        learnt = targets != IGNORED
        if plain_head[0]:
            logits = head(decoded(input_ids, attention_mask)[:, :-1][learnt])
        else:
            every = whole(input_ids=input_ids, attention_mask=attention_mask).logits
            logits = every[:, :-1][learnt]
        nats = torch.nn.functional.cross_entropy(logits.float(), targets[learnt], reduction="none")
        if reference is None:
            return {"loss": nats.sum() / num_items_in_batch}
        rows = nats.new_zeros(len(labels)).index_add(0, learnt.nonzero()[:, 0], -nats)
        above = margins(rows, len(reference))
        total = preference_losses(above, reference, dpo_beta).sum()
        return {"loss": total / num_items_in_batch, "margins": above.detach()}

    causal.forward = MethodType(forward, causal)
