"""Checkpoint directories: written aside, flushed to disk, sealed by a manifest, and renamed into
place.

A directory with the final name is therefore complete, and its manifest says what every file must
hash to.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from stargate_assets.errors import StargateError

MANIFEST = "manifest.json"


class CheckpointError(StargateError):
    """A checkpoint is missing or damaged. The message says which and what to do."""


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def publish(aside: Path, final: Path) -> str:
    """Seal the directory `aside` and move it to `final`; returns the checkpoint's hash.

    The hash covers names and contents of all files, so two runs that trained the same weights agree
    on it.
    """
    files = sorted(p for p in aside.rglob("*") if p.is_file() and p.name != MANIFEST)
    hashes = {str(path.relative_to(aside)): file_sha256(path) for path in files}
    digest = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()
    manifest = aside / MANIFEST
    manifest.write_text(json.dumps({"sha256": digest, "files": hashes}, indent=2) + "\n")
    for path in [*files, manifest]:
        _flush(path)
    _flush(aside)
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        shutil.rmtree(final)
    aside.rename(final)
    _flush(final.parent)
    return digest


def verify(path: Path) -> str:
    """The hash of a complete and undamaged checkpoint, from its manifest."""
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise CheckpointError(
            f"The checkpoint {path} is not there; materialise the checkpoints cell that made it "
            "again."
        ) from error
    for name, expected in manifest["files"].items():
        if not (path / name).is_file() or file_sha256(path / name) != expected:
            raise CheckpointError(
                f"The file {name} of checkpoint {path} is missing or damaged; delete the "
                "directory and materialise "
                "the checkpoints cell that made it again."
            )
    return manifest["sha256"]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
