"""Locks by which processes tell each other what they have open; the system drops them with the process.

They are of `flock`, which belong to one opening of a file. Those of `lockf` belong to the process: they end as soon as
it closes any other opening of that file, so they would be lost where a table is opened twice. A process forked from
another shares what was opened before, and the lock ends with the last of them; what it opens itself is its own.
"""

import os
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CAN_LOCK = fcntl is not None


def share(descriptor: int) -> None:
    """Marks what is open as in use until it is closed; others may do so too. Waits for who is just removing it."""
    if CAN_LOCK:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)


def alone(descriptor: int) -> bool:
    """Whether no other opening is marked as in use; if so none can be until this one is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # where a file system has no locks nobody can know
        return False
    return True


def is_at(descriptor: int, path: Path) -> bool:
    """Whether what is open is what is found at a path now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
