"""Files on their way between nodes that share no disk: through Ray's object store, in pieces, so
that neither side holds a whole file.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PIECE_BYTES = 64 * 2**20
StoredFiles = Mapping[str, Sequence[Any]]
"""References to the pieces of each file, by its path within the directory."""


def put_files(directory: Path) -> StoredFiles:
    """Bring a directory's files into the object store."""
    import ray

    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(p.relative_to(directory)): [ray.put(one) for one in _pieces(p)] for p in paths}


def write_files(files: StoredFiles, directory: Path) -> None:
    """Write files out of the object store into a directory, which is made if need be."""
    import ray

    for name, pieces in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for piece in pieces:
                file.write(ray.get(piece))


def make_directory(prefix: str) -> Path:
    """Where an actor keeps files on its node: in Ray's directory for the session, which goes when
    Ray's files go.
    """
    from ray._private.worker import global_worker

    session = global_worker.node and global_worker.node.get_session_dir_path()
    return Path(tempfile.mkdtemp(prefix=prefix, dir=session))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece
