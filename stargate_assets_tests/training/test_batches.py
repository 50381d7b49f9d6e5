"""How the examples of an epoch are shared out."""

from hypothesis import given
from hypothesis import strategies as st

from stargate_assets.config.training import Training
from stargate_assets.training.batches import accumulation_steps, examples_per_device, micro_batches

COUNTS = st.integers(1, 9)


def training(batch_size: int, device_batch_size: int) -> Training:
    return Training(batch_size=batch_size, device_batch_size=device_batch_size)


def test_an_epoch_on_two_devices() -> None:
    shares = [micro_batches(range(10), training(4, 1), 2, device) for device in (0, 1)]
    assert shares[0] == [[0], [2], [4], [6], [8]]
    assert shares[1] == [[1], [3], [5], [7], [9]]


def test_where_examples_do_not_suffice_devices_get_empty_batches() -> None:
    assert micro_batches(range(7), training(6, 2), 2, 0) == [[0, 1], [4, 5], [6]]
    assert micro_batches(range(7), training(6, 2), 2, 1) == [[2, 3], [], []]


def test_a_batch_is_shared_by_all_devices_before_it_is_accumulated() -> None:
    assert micro_batches(range(4), training(4, 4), 2, 1) == [[2, 3]]


@given(st.integers(1, 40), st.integers(1, 12), COUNTS, st.integers(1, 4))
def test_every_step_has_its_examples_whatever_the_devices(
    examples: int, batch_size: int, device_batch_size: int, devices: int
) -> None:
    stated = training(batch_size, device_batch_size)
    shares = [micro_batches(range(examples), stated, devices, d) for d in range(devices)]
    assert len({len(share) for share in shares}) == 1
    assert max(len(batch) for share in shares for batch in share) <= examples_per_device(
        stated, devices
    )
    assert examples_per_device(stated, devices) <= device_batch_size
    size = accumulation_steps(stated, devices)
    for step, start in enumerate(range(0, examples, batch_size)):
        of_step = [share[step * size : (step + 1) * size] for share in shares]
        learnt = [i for share in of_step for batch in share for i in batch]
        assert sorted(learnt) == list(range(start, min(start + batch_size, examples)))
    steps = -(-examples // batch_size)
    assert (steps - 1) * size < len(shares[0]) <= steps * size
