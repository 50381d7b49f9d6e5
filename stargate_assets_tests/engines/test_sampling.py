import pytest
import torch

from stargate_assets.engines.sampling import BLOCK, sample
from stargate_assets.method.language_model import Sampling


@pytest.mark.parametrize("vocabulary", [5, BLOCK, 3 * BLOCK + 7])
def test_uniform_numbers_map_to_tokens_in_proportion_to_their_probability(vocabulary: int) -> None:
    torch.manual_seed(0)
    row = torch.randn(vocabulary) * 2
    count = 20000
    uniforms = [(i + 0.5) / count for i in range(count)]
    tokens = sample(row.expand(count, -1), [Sampling(1, 0.7)] * count, uniforms)
    found = torch.bincount(torch.tensor(tokens), minlength=vocabulary) / count
    assert torch.allclose(found, (row / 0.7).softmax(-1), atol=2 / count)


def test_top_p_keeps_the_smallest_set_that_has_the_mass() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(200, -1)
    uniforms = [(i + 0.5) / 200 for i in range(200)]
    assert set(sample(logits, [Sampling(1, 1.0, 0.8)] * 200, uniforms)) == {0, 1}
    assert set(sample(logits, [Sampling(1, 1.0, 0.81)] * 200, uniforms)) == {0, 1, 2}


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_the_ends_of_the_interval_choose_possible_tokens(uniform: float) -> None:
    logits = torch.full((1, 2 * BLOCK), float("-inf"))
    logits[0, [3, BLOCK + 5]] = 0.0
    assert sample(logits, [Sampling(1, 1.0)], [uniform])[0] in (3, BLOCK + 5)


def test_rows_do_not_touch_each_other() -> None:
    torch.manual_seed(0)
    logits = torch.randn(7, 1000)
    samplings = [Sampling(1, 0.5 + i / 10, 0.9) for i in range(7)]
    uniforms = [i / 7 for i in range(7)]
    alone = [
        sample(logits[i : i + 1], samplings[i : i + 1], uniforms[i : i + 1])[0] for i in range(7)
    ]
    assert sample(logits, samplings, uniforms) == alone
