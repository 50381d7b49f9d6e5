"""What goes wrong while a model's files are read, as one sentence each: libraries raise whatever
their readers do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stargate_assets.method.language_model import EngineError

_POINTER = b"version https://git-lfs"
_WEIGHTS = "*.safetensors"


@contextmanager
def loading(path: str) -> Iterator[None]:
    """Within it, every error is an EngineError about the model in a directory or on a hub."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:  # tokenizers raise the bare class
        raise EngineError(describe_loading_fault(path, error)) from error


def describe_loading_fault(path: str, error: Exception) -> str:
    """What is wrong with the files of the model in a directory or on a hub, and what to do."""
    directory = Path(path)
    said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    if pointer := _find_pointer(directory):
        return (
            f"{pointer} is a pointer of Git LFS and not the file itself; run `git lfs pull` in "
            f"{directory}."
        )
    if isinstance(error, ImportError):
        return (
            f"The model {path!r} needs a package that is not installed ({said}); install it, or "
            "use a model whose weights are not quantised."
        )
    if broken := _find_broken(directory):
        return f"{broken} is incomplete or damaged ({said}); copy or download it again."
    if directory.is_dir() and not isinstance(error, OSError):
        return f"The model in {directory} could not be loaded ({said}); copy or download it again."
    return (
        f"The model {path!r} could not be loaded ({said}); give the path of a local directory, or "
        "the id of a model on a hub that this machine can reach."
    )


def _find_pointer(directory: Path) -> Path | None:
    """The first file that Git LFS has left a pointer for."""
    for file in sorted(directory.glob("*")):
        if file.is_file():
            with file.open("rb") as opened:
                if opened.read(len(_POINTER)) == _POINTER:
                    return file
    return None


def _find_broken(directory: Path) -> Path | None:
    """The first file of weights that cannot be read."""
    from safetensors import SafetensorError, safe_open

    for file in sorted(directory.glob(_WEIGHTS)):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (OSError, SafetensorError):
            return file
    return None
