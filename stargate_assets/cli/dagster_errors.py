"""What Dagster's errors are about, in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dagster._core.errors import DagsterAssetCheckFailedError, DagsterExecutionInterruptedError

from stargate_assets.method.errors import StargateError
from stargate_assets.storage.disk import DiskError, describe_disk_fault


class FailedCheckError(StargateError):
    """A check of what a run has made has failed. The message says which."""


@contextmanager
def one_sentence(directory: Path) -> Iterator[None]:
    """Within it, an error of Dagster's, or of its storage in `directory`, is the one that the user
    can mend, where one lies under it; and what interrupted Dagster interrupts.
    """
    try:
        yield
    except DagsterExecutionInterruptedError as error:
        raise KeyboardInterrupt from error
    except DagsterAssetCheckFailedError as error:
        raise FailedCheckError(
            f"{error} Look at the checks of the last run in the UI (make ui)."
        ) from error
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, StargateError):
            cause = cause.__cause__
        if cause is not None:
            raise cause from cause.__cause__
        if sentence := describe_disk_fault(error, directory):
            raise DiskError(sentence) from error
        raise
