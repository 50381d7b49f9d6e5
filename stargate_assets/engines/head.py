"""From hidden states to logits by a model's own code: its vocabulary head and what comes after it,
such as soft caps, scaling and biases.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput


@dataclass(frozen=True, slots=True)
class Head:
    """A causal language model whose decoder has run already: its `forward`, with the decoder's
    place taken by what the decoder has computed. `path` names the decoder in the model.
    """

    causal: Any
    path: tuple[str, ...]

    def __call__(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits (M, vocabulary) of hidden states (M, width) from any positions of any rows."""
        model = _decoded(self.causal, self.path)
        return type(self.causal).forward(model, inputs_embeds=hidden[None]).logits[0]


def find_decoder(causal: Any) -> Any:
    """The part of a causal model of transformers that makes hidden states. Raises LookupError."""
    decoder = causal.get_decoder()
    if isinstance(decoder, PreTrainedModel) and decoder is not causal:
        return decoder
    for part in causal.children():
        if isinstance(part, PreTrainedModel):
            return part
    raise LookupError(f"no decoder in {type(causal).__name__}")


def find_head(causal: Any) -> Head:
    """The head of a causal model of transformers. Raises LookupError."""
    decoder = find_decoder(causal)
    name = next(name for name, module in causal.named_modules() if module is decoder)
    return Head(causal, tuple(name.split(".")))


def _decoded(module: Any, path: tuple[str, ...]) -> Any:
    """A copy of a module that shares all with it but the decoder. It is made for each call, because
    adapters come and go in the model.
    """
    if not path:
        return _Decoded(module)
    copied = object.__new__(type(module))  # `copy` would make a module that is shared out anew
    copied.__dict__.update(module.__dict__)
    name, *rest = path
    copied._modules = module._modules | {name: _decoded(module._modules[name], tuple(rest))}
    return copied


class _Decoded(torch.nn.Module):
    """A decoder that takes hidden states as if they were embeddings, and returns them."""

    def __init__(self, decoder: Any):
        super().__init__()
        self.__dict__["decoder"] = decoder  # not a part: it must not be found twice

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["decoder"], name)

    def forward(self, *_: Any, inputs_embeds: torch.Tensor, **__: Any) -> "_Output":
        return _Output(last_hidden_state=inputs_embeds)  # pyright: ignore[reportArgumentType]


class _Output(BaseModelOutput):
    """What a decoder returns; all that only some decoders return is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
