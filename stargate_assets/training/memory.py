"""What training keeps in memory from step to step. Activations come on top, and while a layer is
computed its weights: gathered under FSDP, as bf16 copies otherwise.
"""

import math

WEIGHT, GRADIENT, ADAM = 4, 4, 8
"""Bytes a trained parameter: all fp32, and Adam has two moments."""


def full_training_bytes(parameters: int, devices: int) -> int:
    """On each device: weights, gradients and moments are shared out."""
    return math.ceil(parameters / devices) * (WEIGHT + GRADIENT + ADAM)


def lora_training_bytes(parameters: int, adapter: int, bf16: bool) -> int:
    """On each device, however many there are: the frozen weights, and the adapter's parameters with
    gradients and moments.
    """
    return parameters * (2 if bf16 else 4) + adapter * (WEIGHT + GRADIENT + ADAM)
