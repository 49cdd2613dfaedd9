"""Folders of the cache whose files are read by name, as phantoms are: not removed while a process needs them."""

import os
from pathlib import Path

from medimg.data.cache.entries import remove
from medimg.data.cache.locks import CAN_LOCK, alone, is_at, share

_held: dict[Path, int] = {}  # open folders of this process, which the system closes at its end


def hold(folder: Path) -> bool:
    """Keeps a folder from being removed for as long as this process lives, or one forked from it.

    Returns:
        Whether the folder is there.
    """
    if not CAN_LOCK:
        return folder.is_dir()
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    if folder in _held and is_at(_held[folder], folder):
        os.close(descriptor)
        return True
    share(descriptor)
    if not is_at(descriptor, folder):  # removed while we waited for the lock
        os.close(descriptor)
        return False
    _held[folder] = descriptor
    return True


def remove_unless_held(folder: Path) -> bool:
    """Removes a folder that no process holds.

    Returns:
        Whether it did. Where a file system has no locks nobody can know who holds it, and it stays.
    """
    if not CAN_LOCK:
        remove(folder)
        return True
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        free = alone(descriptor)
        if free:
            remove(folder)
    finally:
        os.close(descriptor)
    return free
