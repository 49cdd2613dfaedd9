"""The lock that keeps two processes from writing one run. The operating system releases it when its owner dies."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from medimg.errors import RequestError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

NAME = ".lock"
_TRIES = 5  # who only looks whether it is held holds it for an instant

_held: set[Path] = set()  # by this process: closing any descriptor of the file would release them


class LockedError(RequestError):
    """Another process is writing the run."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a run folder.

    A POSIX record lock, which belongs to this process alone: workers do not inherit it, so those that outlive their
    owner do not hold it, as they would one of `flock`.

    Raises:
        LockedError: another process holds it; the message names the process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a+", encoding="utf-8") as stream:
        if not any(take(stream) or time.sleep(0.02) for _ in range(_TRIES)):  # type: ignore[func-returns-value]
            raise LockedError(
                f"{folder} is being written by another process: {_owner(stream)}\n  wait until it ends, or end it first"
            )
        stream.truncate(0)
        stream.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        stream.flush()
        _held.add(folder.resolve())
        try:
            yield
        finally:
            _held.discard(folder.resolve())


def is_locked(folder: Path) -> bool:
    """Whether another process is writing the run."""
    if folder.resolve() in _held:
        return False
    try:
        with (folder / NAME).open("r+", encoding="utf-8") as stream:
            return not take(stream)
    except OSError:
        return False


def is_abandoned(folder: Path) -> bool:
    """Whether a process of this machine has been writing the run and is gone."""
    if folder.resolve() in _held:
        return False
    try:
        with (folder / NAME).open(encoding="utf-8") as stream:
            here = _owner(stream).endswith(f" on {socket.gethostname()}")
    except OSError:
        return False
    return here and not is_locked(folder)


def take(stream: IO[Any]) -> bool:
    """Locks an open file for this process until any descriptor of it is closed; False where another one holds it."""
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
