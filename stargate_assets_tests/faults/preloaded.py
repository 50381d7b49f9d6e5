"""What every child process of the harness needs, imported once."""

import matplotlib.backends.backend_agg
import matplotlib.backends.backend_svg
import peft
import torch
import transformers.models.auto

import stargate_assets.engines.scripted
import stargate_assets.reporting.page
import stargate_assets_tests.faults.harness

__all__ = [
    "matplotlib",
    "peft",
    "stargate_assets",
    "stargate_assets_tests",
    "torch",
    "transformers",
]
