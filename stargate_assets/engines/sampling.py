"""Sampling by inverse distribution function: one uniform number chooses one token, whatever the
batch.
"""

from collections.abc import Sequence

import torch

from stargate_assets.method.language_model import Sampling

BLOCK = 256


def sample(
    logits: torch.Tensor, samplings: Sequence[Sampling], uniforms: Sequence[float]
) -> list[int]:
    """One token for each row of `logits` (rows, vocabulary), at the row's temperature and top_p.

    The weights are summed in blocks first, so that only one block a row is accumulated token by
    token.
    """
    rows, vocabulary = logits.shape
    temperatures = logits.new_tensor([s.temperature for s in samplings], dtype=torch.float32)
    weights = torch.empty((rows, -(-vocabulary // BLOCK) * BLOCK), device=logits.device)
    weights[:, vocabulary:] = float("-inf")
    weights[:, :vocabulary] = logits
    weights.sub_(logits.amax(-1, keepdim=True)).div_(temperatures[:, None]).exp_()
    if any(s.top_p < 1 for s in samplings):
        _keep_nucleus(weights, [s.top_p for s in samplings])
    blocks = weights.view(rows, -1, BLOCK)
    mass = blocks.sum(-1).cumsum(-1)
    targets = mass.new_tensor(uniforms)[:, None] * mass[:, -1:]
    block = torch.searchsorted(mass, targets, right=True).clamp_(max=mass.shape[-1] - 1)
    before = torch.where(block > 0, mass.gather(1, (block - 1).clamp_(min=0)), 0.0)
    inside = blocks[torch.arange(rows, device=mass.device), block[:, 0]].cumsum(-1)
    # Rounding may put the target a hair past the block's last positive weight.
    targets = torch.minimum(targets - before, inside[:, -1:].nextafter(torch.zeros_like(before)))
    offset = torch.searchsorted(inside, targets, right=True)
    return (block * BLOCK + offset)[:, 0].tolist()


def _keep_nucleus(weights: torch.Tensor, top_ps: Sequence[float]) -> None:
    """Zero, in place, what lies outside the smallest set of tokens with probability top_p."""
    ordered, ranks = weights.sort(-1, descending=True)
    share = (ordered.cumsum(-1) - ordered) / ordered.sum(-1, keepdim=True)
    outside = share >= weights.new_tensor(top_ps)[:, None]
    weights.scatter_(-1, ranks, ordered.masked_fill_(outside, 0))
