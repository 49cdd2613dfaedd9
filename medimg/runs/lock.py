"""The lock that keeps two processes from writing one run. The operating system releases it when its owner dies."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from medimg.errors import RequestError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

NAME = ".lock"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a run folder.

    A POSIX record lock, which belongs to this process alone: workers do not inherit it, so those that outlive their
    owner do not hold it, as they would one of `flock`.

    Raises:
        RequestError: another process holds it; the message names the process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a+", encoding="utf-8") as stream:
        if not _take(stream):
            raise RequestError(
                f"{folder} is being written by another process: {_owner(stream)}\n  wait until it ends, or end it first"
            )
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        stream.flush()
        yield


def is_locked(folder: Path) -> bool:
    """Whether another process is writing the run."""
    try:
        with (folder / NAME).open("r+", encoding="utf-8") as stream:
            return not _take(stream)
    except OSError:
        return False


def _take(stream: IO[str]) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:  # some network file systems have none
        log.warning("this file system has no locks (%s): see to it that one process alone writes a run", error)
    return True


def _owner(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read().strip() or "unknown"
