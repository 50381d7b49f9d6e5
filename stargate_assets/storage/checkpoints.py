"""Checkpoint directories: written under a temporary name, flushed to disk, sealed by a manifest and
renamed.

A directory with the final name is therefore complete, and its manifest has the hash of every file.
The manifest of a trained checkpoint also has a hash of what it was trained from, so that the same
training is never run twice.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stargate_assets.method.errors import StargateError

MANIFEST = "manifest.json"


class CheckpointError(StargateError):
    """A checkpoint is missing or damaged. The message says which and what to do."""


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """What a manifest says of a training: `digest` is a hash of everything that determines its
    result, `result` is what it reported when it ended.
    """

    digest: str
    result: Mapping[str, Any]


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(aside: Path, final: Path, training: TrainingRecord | None = None) -> str:
    """Seal the directory `aside` and move it to `final`; returns the checkpoint's hash.

    The hash covers names and contents of all files, so two runs that trained the same weights agree
    on it.
    """
    files = sorted(p for p in aside.rglob("*") if p.is_file() and p.name != MANIFEST)
    hashes = {str(path.relative_to(aside)): file_sha256(path) for path in files}
    digest = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    manifest = aside / MANIFEST
    sealed: dict[str, Any] = {"sha256": digest, "files": hashes}
    if training is not None:
        sealed["training"] = asdict(training)
    manifest.write_text(json.dumps(sealed, indent=2) + "\n")
    for path in [*files, manifest]:
        _flush(path)
    _flush(aside)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        shutil.rmtree(final)
    aside.rename(final)
    _flush(final.parent)
    return digest


def find_training(
    checkpoints: Path, digests: Collection[str], final: Path
) -> tuple[Path, TrainingRecord] | None:
    """Find an undamaged checkpoint with one of these digests among those of all experiments, and
    the record of its training; None if there is none. If `final` is such a checkpoint, it is
    preferred.
    """
    sealed = (manifest.parent for manifest in checkpoints.glob(f"*/[!.]*/{MANIFEST}"))
    for path in sorted(sealed, key=lambda path: (path != final, path)):
        try:
            training = _read_manifest(path).get("training")
            if training is not None and training["digest"] in digests:
                verify(path)
                return path, TrainingRecord(**training)
        except CheckpointError:
            continue  # a damaged checkpoint is trained again
    return None


def reuse_checkpoint(source: Path, aside: Path, final: Path, training: TrainingRecord) -> str:
    """Publish the files of the checkpoint `source` as `final` as well; returns its hash.

    Files are hard links, or copies where the file system has no links, so that either checkpoint
    can be deleted without the other. Nothing is done if `source` is `final`.
    """
    if source == final:
        shutil.rmtree(aside)
        return _read_manifest(final)["sha256"]
    for name in _read_manifest(source)["files"]:
        target = aside / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(source / name)
        except OSError:
            shutil.copy2(source / name, target)
    return publish(aside, final, training)


def verify(path: Path) -> str:
    """Check every file of a checkpoint against its manifest; returns the checkpoint's hash. Raises
    CheckpointError if a file is missing or damaged.
    """
    manifest = _read_manifest(path)
    for name, expected in manifest["files"].items():
        if not (path / name).is_file() or file_sha256(path / name) != expected:
            raise CheckpointError(
                f"The file {name} of checkpoint {path} is missing or damaged; delete the "
                f"directory, and make it again: {_remake(path)}."
            )
    return manifest["sha256"]


def sealed_files(path: Path) -> list[str]:
    """The names of a checkpoint's files. Raises CheckpointError."""
    return sorted(_read_manifest(path)["files"])


def _remake(path: Path) -> str:
    """The command that makes a checkpoint, which stands in EXPERIMENT/ITERATION-SPLIT."""
    return f"stargate run {path.parent.name} --force '{path.name.replace('-', '|', 1)}'"


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise CheckpointError(
            f"The checkpoint {path} does not exist; make it again: {_remake(path)}."
        ) from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
