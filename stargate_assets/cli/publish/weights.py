"""A policy's weights, as people elsewhere load them."""

import json
import shutil
from pathlib import Path
from typing import Any

from stargate_assets.cli.publish.base_model import BaseModel
from stargate_assets.config.model_spec import ModelSpec
from stargate_assets.engines.engine import Checkpoint
from stargate_assets.engines.loading import loading
from stargate_assets.models.pool import ModelPool
from stargate_assets.storage.checkpoints import sealed_files

ADAPTER_CONFIG = "adapter_config.json"


def copy_weights(checkpoint: Checkpoint, base: BaseModel, directory: Path) -> None:
    """The files of a checkpoint; an adapter names its base model as others find it."""
    for name in sealed_files(checkpoint.path):
        shutil.copy2(checkpoint.path / name, directory / name)
    if checkpoint.is_adapter:
        config = directory / ADAPTER_CONFIG
        stated = json.loads(config.read_text(encoding="utf-8"))
        stated |= {"base_model_name_or_path": base.name, "revision": base.revision}
        config.write_text(json.dumps(stated, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def merge_weights(
    models: ModelPool, spec: ModelSpec, checkpoint: Checkpoint, directory: Path
) -> None:
    """The base model with the adapter merged into it, in the type in which it was evaluated."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    path = models.path(spec)
    with loading(path):
        base: Any = AutoModelForCausalLM.from_pretrained(
            path, revision=spec.revision or "main", dtype=models.dtype(spec)
        )
        adapted: Any = PeftModel.from_pretrained(base, str(checkpoint.path))
    adapted.merge_and_unload().save_pretrained(directory)
