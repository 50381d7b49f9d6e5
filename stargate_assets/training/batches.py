"""Which examples are computed together, and on which device: the examples of a step do not depend
on how many devices there are.
"""

import math
from collections.abc import Iterator, Sequence

from accelerate.utils import broadcast_object_list
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import LengthGroupedSampler

from stargate_assets.config.training import Training


def examples_per_device(training: Training, devices: int) -> int:
    """Examples that a device computes at once."""
    return min(training.device_batch_size, math.ceil(training.batch_size / devices))


def accumulation_steps(training: Training, devices: int) -> int:
    """Micro-batches that each device computes for a full step."""
    return math.ceil(
        math.ceil(training.batch_size / examples_per_device(training, devices)) / devices
    )


def micro_batches(
    order: Sequence[int], training: Training, devices: int, device: int
) -> list[list[int]]:
    """One device's share of an epoch whose examples come in this order.

    Every step has `batch_size` examples, the last what is left, and as many micro-batches on each
    device, because devices wait for each other: where the examples do not suffice, empty ones.
    """
    size, found = examples_per_device(training, devices), list[list[int]]()
    for start in range(0, len(order), training.batch_size):
        step = order[start : start + training.batch_size]
        batches = [list(step[i : i + size]) for i in range(0, len(step), size)]
        batches += [[] for _ in range(-len(batches) % devices)]
        found += batches[device::devices]
    return found


class MicroBatches(Sampler[list[int]]):
    """A device's micro-batches, examples of similar length together, in another order each epoch:
    the one that the first device draws. A training that goes on within an epoch goes on in the
    `order` in which that was begun.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        training: Training,
        devices: int,
        device: int,
        order: Sequence[int] | None = None,
    ):
        self.sampler = LengthGroupedSampler(training.batch_size, lengths=list(lengths))
        self.training, self.devices, self.device = training, devices, device
        self.begun, self.order = order, list(order or ())

    def __len__(self) -> int:
        return len(self._shared(range(len(self.sampler))))

    def __iter__(self) -> Iterator[list[int]]:
        order = list(self.sampler) if self.begun is None else self.begun
        self.begun, self.order = None, broadcast_object_list([order])[0]
        yield from self._shared(self.order)

    def _shared(self, order: Sequence[int]) -> list[list[int]]:
        return micro_batches(order, self.training, self.devices, self.device)
