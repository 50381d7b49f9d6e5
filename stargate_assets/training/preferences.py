"""Direct preference optimisation (Rafailov et al., 2023) of questions: what was chosen
is to gain on what was rejected, compared with the model as it was before the first step.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from stargate_assets.config.training import Training
from stargate_assets.method.examples import ChatTokenizer, Dialogue, Example, tokenise
from stargate_assets.training.batches import micro_batches


@dataclass(frozen=True, slots=True)
class ExamplePair:
    """Two examples with one context; only what was said after it has labels."""

    chosen: Example
    rejected: Example

    @property
    def tokens(self) -> int:
        return len(self.chosen.tokens) + len(self.rejected.tokens)


def example_pairs(
    preferences: Sequence[tuple[Dialogue, Dialogue]], tokenizer: ChatTokenizer
) -> list[ExamplePair]:
    return [
        ExamplePair(*(tokenise(dialogue, tokenizer)[0] for dialogue in preference))
        for preference in preferences
    ]


def halve_device_batch(training: Training) -> Training:
    """The training whose examples are pairs: as many sequences are computed together."""
    return training.model_copy(
        update={"device_batch_size": max(1, training.device_batch_size // 2)}
    )


def margins(log_probs: torch.Tensor, pairs: int) -> torch.Tensor:
    """log p(chosen) - log p(rejected) of the first rows, which stand in turn, in nats."""
    chosen, rejected = log_probs[: 2 * pairs].view(pairs, 2).unbind(1)
    return chosen - rejected


def preference_losses(margins: torch.Tensor, reference: torch.Tensor, beta: float) -> torch.Tensor:
    """The loss of each pair, in nats; `reference` are the margins before the first step."""
    return -torch.nn.functional.logsigmoid(beta * (margins - reference))


def reference_margins(
    lengths: Sequence[int],
    training: Training,
    devices: int,
    device: int,
    margins_of: Callable[[list[int]], torch.Tensor],
) -> torch.Tensor:
    """The margins of this device's share of the pairs, 0 for the others'. Every device calls the
    model equally often, because one that is spread over them answers to all at once.
    """
    found = torch.zeros(len(lengths))
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    for batch in micro_batches(order, training, devices, device):
        found[batch] = margins_of(batch).float().cpu()
    return found
