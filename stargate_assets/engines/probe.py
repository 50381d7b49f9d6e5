"""Whether this engine computes a model as transformers does: tried on opening, at every position of
a few random sequences, in each way in which the engine computes.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from stargate_assets.engines.forward import Forward
from stargate_assets.engines.head import find_decoder, find_head
from stargate_assets.engines.prefixes import Tokens
from stargate_assets.engines.row_cache import GROUPED_ATTENTION, RowCache
from stargate_assets.method.language_model import EngineError

LENGTH, SHARED = 9, 4
ROWS = ((0, SHARED, 8), (1, 2, 6), (0, SHARED, 5))
"""Of each row its sequence, the end of its prefix, and the end of the segment after that."""
Part = tuple[int, int, torch.Tensor]
"""A sequence's number, a position in it, and hidden states (T, width) from there on."""
_LIMITS = (
    *("max_position_embeddings", "sliding_window", "attention_chunk_size"),
    *("local_attention", "window_size", "max_target_positions"),
)
"""What configurations call the length of the context, and windows of it."""
_NOT_RUN = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError),
    *(NotImplementedError, RuntimeError, TypeError, ValueError),
)
"""What a model's own code raises when it is given another cache, mask or attention."""


@torch.inference_mode()
def probe(model: Any, name: str, vocabulary: Sequence[int], prefill_tokens: int) -> Forward:
    """The computation of a model that was loaded with eager attention, which is what its
    architecture defines. Raises EngineError where its log-probabilities are not the model's own, or
    are no numbers.
    """
    draw = random.Random(0)
    sequences = [tuple(draw.choices(vocabulary, k=LENGTH)) for _ in range(2)]
    on_gpu = model.device.type != "cpu"
    why = ""
    try:
        plain = model(input_ids=torch.tensor(sequences, device=model.device), use_cache=True)
        expected = _log_probs(plain)
        if expected.isnan().any():
            raise EngineError(
                f"The model {name!r} itself gives log-probabilities that are no numbers in "
                f"{str(model.dtype).removeprefix('torch.')}; state dtype: float32 where the "
                "experiment names it, or take another copy of its weights."
            )
        forward = _forward(model, plain, prefill_tokens)
        explained = _rounding(model, sequences, expected)
        for attention in ("sdpa", GROUPED_ATTENTION) if on_gpu else (GROUPED_ATTENTION,):
            model.set_attn_implementation(attention)
            difference = _difference(forward, sequences, expected) / explained
            if difference <= 1:
                return forward
            why = f"its log-probabilities differ by {difference:.2g} times what rounding explains"
    except torch.OutOfMemoryError:
        raise
    except _NOT_RUN as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    raise EngineError(
        f"The transformers engine does not compute {name!r} ({type(model).__name__}) as the model "
        f"itself does ({why}); set engine: vllm for it."
    )


def _forward(model: Any, output: Any, prefill_tokens: int) -> Forward:
    layers = getattr(output.past_key_values, "layers", [])
    states = [state for layer in layers for state in (layer.keys, layer.values)]
    shapes = {(state.shape[1], state.shape[3]) for state in states}
    if len(shapes) != 1:
        raise ValueError("its layers do not all keep keys and values of one shape")
    return Forward(
        find_decoder(model),
        find_head(model),
        output.logits.shape[-1],
        (len(layers), *shapes.pop()),
        states[0],
        prefill_tokens,
        _longest(model.config.get_text_config(), layers),
    )


def _longest(config: Any, layers: Sequence[Any]) -> int | None:
    """The tokens up to which every layer attends to all, with positions that do not depend on other
    rows; None where there is no limit.
    """
    limits = [getattr(config, name, None) for name in _LIMITS]
    limits += [getattr(layer, "sliding_window", None) for layer in layers]
    rope = getattr(config, "rope_parameters", None) or {}
    for stated in (rope, *(part for part in rope.values() if isinstance(part, dict))):
        if stated.get("rope_type") in {"dynamic", "longrope"}:  # chosen by a batch's longest row
            limits.append(stated.get("original_max_position_embeddings"))
    return min((limit for limit in limits if isinstance(limit, int) and limit > 0), default=None)


def _computed(forward: Forward, sequences: Sequence[Tokens]) -> Iterator[list[Part]]:
    """What this engine computes, in each of its ways: prefixes, one of them for two rows; segments
    after them; and single tokens, beside a row that is empty.
    """
    states: dict[tuple[int, int], torch.Tensor] = {}

    def extend(ends: Sequence[tuple[int, int, int]]) -> list[Part]:
        """Each is a sequence, what is held of it, and where its segment ends."""
        found: list[Part] = []

        def keep(job: int, cache: RowCache, row: int, hidden: torch.Tensor) -> None:
            sequence, start, end = ends[job]
            states[sequence, end] = cache.take(row, end).clone()
            found.append((sequence, start, hidden))

        forward.extend(
            [states.get((sequence, start)) for sequence, start, _ in ends],
            [sequences[sequence][start:end] for sequence, start, end in ends],
            keep,
        )
        return found

    yield extend(sorted({(sequence, 0, start) for sequence, start, _ in ROWS}))
    yield extend(ROWS)
    cache = forward.cache(len(ROWS) + 1, LENGTH)
    for row, (sequence, _, end) in enumerate(ROWS):
        cache.put(row, states[sequence, end])
    tokens = [[sequences[sequence][end]] for sequence, _, end in ROWS]
    hidden = cache.forward(
        forward.decoder, torch.tensor([*tokens, [0]], device=forward.like.device)
    )
    yield [(sequence, end, hidden[row]) for row, (sequence, _, end) in enumerate(ROWS)]


def _rounding(model: Any, sequences: Sequence[Tokens], expected: torch.Tensor) -> float:
    """How far two right computations of a model may be from each other, in nats. Some models, such
    as Qwen2 with its large key biases, multiply what is rounded: how much is seen when what each of
    their parts gives is changed by as much as rounding changes it.
    """
    eps, noise = torch.finfo(model.dtype).eps, torch.Generator(model.device).manual_seed(0)

    def perturb(_: Any, __: Any, output: Any) -> Any:
        if not torch.is_tensor(output) or output.dtype != model.dtype:
            return output
        up_to_one = torch.rand(output.shape, generator=noise, device=output.device) * 2 - 1
        return (output.float() * (1 + eps / 2 * up_to_one)).to(output.dtype)

    parts = [part for part in model.modules() if not any(part.children())]
    hooks = [part.register_forward_hook(perturb) for part in parts]
    try:
        perturbed = _log_probs(model(input_ids=torch.tensor(sequences, device=model.device)))
    finally:
        for hook in hooks:
            hook.remove()
    multiplied = (perturbed - expected).abs().amax(-1).median().item()
    return 2 * max(eps**0.5 * expected.std().item(), multiplied)


def _log_probs(output: Any) -> torch.Tensor:
    return output.logits.float().log_softmax(-1)


def _difference(forward: Forward, sequences: Sequence[Tokens], expected: torch.Tensor) -> float:
    """How far the log-probabilities of the worst way are from what is expected, in nats. In half
    precision the median position of a way counts, because a mixture of experts may route a near-tie
    elsewhere.
    """
    errors = list[float]()
    for way in _computed(forward, sequences):
        found = forward.head(torch.cat([hidden for _, _, hidden in way])).float().log_softmax(-1)
        wanted = [expected[row, start : start + len(hidden)] for row, start, hidden in way]
        differences = (found - torch.cat(wanted)).abs().amax(-1)
        errors.append(
            (
                differences.max() if forward.like.dtype == torch.float32 else differences.median()
            ).item()
        )
    return max(errors)
