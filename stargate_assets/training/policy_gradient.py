"""REINFORCE with a clipped importance ratio (Williams, 1992; Schulman et al., 2017), so that the
conversations of one policy can be learnt from several times.
"""

import torch


def policy_losses(
    log_probs: torch.Tensor,
    sampled: torch.Tensor,
    base: torch.Tensor,
    advantages: torch.Tensor,
    *,
    clip: float,
    kl_weight: float,
) -> torch.Tensor:
    """The loss of each token: -min(r A, clip(r, 1 - clip, 1 + clip) A) + kl_weight KL, where r is
    the token's probability over that with which it was sampled, A its conversation's advantage, and
    KL an estimate of the divergence from the base model that is never negative (Schulman, 2020), in
    nats.

    All are of shape (tokens,); log-probabilities are in nats.
    """
    ratio = (log_probs - sampled).exp()
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    above = base - log_probs
    return kl_weight * (above.exp() - above - 1) - gain
