"""The files of a source as bytes: one, those of a folder or of a pattern, or of URLs; unpacked."""

import glob
import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pyarrow as pa

from stargate_assets.config.data_set import DataError, Source

SUFFIXES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx")
"""The endings of files that can be read."""
PACKED = (".gz", ".zst")
"""What may follow them."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """`name` is its path or URL, `suffix` the ending that says what it is, `data` its bytes,
    unpacked.
    """

    name: str
    suffix: str
    data: bytes


def read_files(source: Source) -> Iterator[SourceFile]:
    """The files of a source, in order. Raises DataError for one that cannot be had, and for a URL
    whose bytes are not those that were declared.
    """
    for path in paths_of(source):
        if path.is_dir() or (glob.has_magic(str(path)) and not path.exists()):
            raise DataError(f"{path} names no file that ends with {', '.join(SUFFIXES)}; add one.")
        if not path.is_file():
            raise DataError(f"{path} is not there; add it.")
        yield _unpacked(str(path), path.name, path.read_bytes())
    for url, digest in source.url.items():
        data = download(url)
        if hashlib.sha256(data).hexdigest() != digest:
            raise DataError(
                f"{url} is not what it was when it was declared (its SHA-256 differs); declare it "
                "again with stargate init, or restore it."
            )
        yield _unpacked(url, PurePosixPath(urlsplit(url).path).name, data)


def paths_of(source: Source) -> list[Path]:
    """The files that a source names: a folder stands for what can be read in it, and a pattern for
    what it matches, sorted. One that names no file stands for itself.
    """
    return [found for path in source.file for found in _expand(path)]


def _expand(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(child for child in path.iterdir() if _is_data(child))
    elif not path.exists() and glob.has_magic(str(path)):
        matched = glob.glob(str(path), recursive=True)  # noqa: PTH207 - of an absolute pattern
        found = sorted(p for p in map(Path, matched) if _is_data(p))
    else:
        found = []
    return found or [path]


def _is_data(path: Path) -> bool:
    """Whether it is a file that can be read, and not what an office program leaves beside one."""
    hidden = path.name.startswith((".", "~$"))
    return not hidden and _endings(path.name)[0] in SUFFIXES and path.is_file()


def _endings(name: str) -> tuple[str, str]:
    """What a file is, and how it is packed: ".csv" and ".gz", or ".csv" and ""."""
    path = PurePosixPath(name.casefold())
    if path.suffix in PACKED:
        return path.with_suffix("").suffix, path.suffix
    return path.suffix, ""


def _unpacked(name: str, last: str, data: bytes) -> SourceFile:
    suffix, packed = _endings(last)
    if suffix not in SUFFIXES:
        raise DataError(
            f"{name} ends with none of {', '.join(SUFFIXES)}, nor with one of these and "
            f"{' or '.join(PACKED)}; save it as one of them."
        )
    try:
        if packed == ".gz":
            data = gzip.decompress(data)
        elif packed == ".zst":
            data = pa.CompressedInputStream(pa.BufferReader(data), "zstd").read()
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise DataError(f"{name} cannot be unpacked ({error}); pack it again.") from error
    return SourceFile(name, suffix, data)


def download(url: str) -> bytes:
    """The bytes of a URL that fsspec knows, such as https:// or s3://. Raises DataError."""
    try:
        import fsspec

        with fsspec.open(url, "rb") as file:
            return file.read()  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError as error:
        raise DataError(
            f"{url} needs a package that is not there ({error}); install the extra: "
            "pip install 'stargate-assets[files]'."
        ) from error
    except _download_errors() as error:
        raise DataError(f"{url} cannot be read ({error or type(error).__name__}).") from error


def _download_errors() -> tuple[type[Exception], ...]:
    """What fsspec's file systems raise: most of them OSError, but their libraries have their own
    families.
    """
    import aiohttp

    errors: tuple[type[Exception], ...] = (OSError, ValueError, aiohttp.ClientError)
    try:
        from botocore.exceptions import BotoCoreError
    except ImportError:
        return errors
    return (*errors, BotoCoreError)
