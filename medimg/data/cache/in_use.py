"""Folders of the cache whose files are read by name, as phantoms are: not removed while a process needs them."""

import os
from contextlib import suppress
from pathlib import Path

from medimg.data.cache.entries import remove

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_held: dict[Path, int] = {}  # open folders of this process, which the system closes at its end


def hold(folder: Path) -> bool:
    """Keeps a folder from being removed for as long as this process lives, or one forked from it.

    Returns:
        Whether the folder is there.
    """
    if fcntl is None:
        return folder.is_dir()
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if folder in _held and _same(_held[folder], folder):
        os.close(descriptor)
        return True
    with suppress(OSError):  # some network file systems have no locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    if not _same(descriptor, folder):  # removed while we waited for the lock
        os.close(descriptor)
        return False
    _held[folder] = descriptor
    return True


def remove_unless_held(folder: Path) -> bool:
    """Removes a folder that no process holds.

    Returns:
        Whether it did. Where a file system has no locks nobody can know who holds it, and it stays.
    """
    if fcntl is None:
        remove(folder)
        return True
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        free = _locked_alone(descriptor)
        if free:
            remove(folder)
    finally:
        os.close(descriptor)
    return free


def _locked_alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _same(descriptor: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False
