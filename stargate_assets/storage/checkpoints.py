"""Checkpoint directories: written aside, flushed to disk, sealed by a manifest, and renamed into
place.

A directory with the final name is therefore complete, and its manifest says what every file must
hash to. That of a training also says what it was trained from, so that nobody pays for it twice.
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
    """`digest` is of all that determines the result; `result` is what the training reported."""

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


def trained_before(
    checkpoints: Path, digests: Collection[str], final: Path
) -> tuple[Path, TrainingRecord] | None:
    """An undamaged checkpoint of any experiment whose training has one of these digests, if there
    is one: `final` itself rather than another.
    """
    sealed = (manifest.parent for manifest in checkpoints.glob(f"*/[!.]*/{MANIFEST}"))
    for path in sorted(sealed, key=lambda path: (path != final, path)):
        try:
            training = _manifest(path).get("training")
            if training is not None and training["digest"] in digests:
                verify(path)
                return path, TrainingRecord(**training)
        except CheckpointError:
            continue  # then it is trained again
    return None


def take_over(source: Path, aside: Path, final: Path, training: TrainingRecord) -> str:
    """Publish the files of another checkpoint, of which either can be deleted alone: by hard links,
    or as copies where the file system has none. One that is in place already stays.
    """
    if source == final:
        shutil.rmtree(aside)
        return _manifest(final)["sha256"]
    for name in _manifest(source)["files"]:
        target = aside / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(source / name)
        except OSError:
            shutil.copy2(source / name, target)
    return publish(aside, final, training)


def verify(path: Path) -> str:
    """The hash of a complete and undamaged checkpoint, from its manifest."""
    manifest = _manifest(path)
    for name, expected in manifest["files"].items():
        if not (path / name).is_file() or file_sha256(path / name) != expected:
            raise CheckpointError(
                f"The file {name} of checkpoint {path} is missing or damaged; delete the "
                "directory and materialise "
                "the checkpoints cell that made it again."
            )
    return manifest["sha256"]


def _manifest(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise CheckpointError(
            f"The checkpoint {path} is not there; materialise the checkpoints cell that made it "
            "again."
        ) from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
