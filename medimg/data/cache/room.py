"""Room for a new table: the longest unused go, and those that a process has open stay."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medimg.data.cache.entries import INDEX, KINDS, Entry, entries, finish_removals, gigabytes, remove
from medimg.data.cache.locks import alone, is_at

log = logging.getLogger(__name__)


def make_room(cache: Path, need: int, limit: int, keep: Path) -> None:
    """Removes the longest unused tables until so many bytes more stay within a limit; none where that cannot be.

    Args:
        cache: the cache folder.
        need: bytes that the table to keep may come to.
        limit: bytes of all tables together.
        keep: the folder of the table that is to be opened.

    Raises:
        OSError: tables that are in use leave too little.
    """
    for kind in KINDS:
        finish_removals(cache / kind)
    free, held = list[Entry](), 0
    for entry in entries(cache):
        if entry.folder == keep:
            continue
        with _unused(entry.folder) as unused:
            if unused:
                free.append(entry)
            else:
                held += _may_take(entry)
    total = held + sum(entry.size for entry in free)
    for entry in free if held + need <= limit else ():
        if total + need > limit and _remove_unless_open(entry.folder):
            total -= entry.size
            why = f"the cache is limited to {gigabytes(limit)}"
            log.info("%s: %s is removed, the longest unused", why, entry.folder)
    if total + need > limit:
        raise OSError(
            errno.ENOSPC,
            f"of {gigabytes(limit)}, tables in use take {gigabytes(held)}, and it may take {gigabytes(need)}",
        )


def _may_take(entry: Entry) -> int:
    """Bytes that a table which is being filled may come to."""
    whole = entry.about.get("bytes")
    return max(entry.size, whole if isinstance(whole, int) else 0)


def _remove_unless_open(folder: Path) -> bool:
    with _unused(folder) as unused:
        if unused:
            remove(folder)
        return unused


@contextmanager
def _unused(folder: Path) -> Iterator[bool]:
    """Whether no process has a table open; if so none can open it within the block.

    What cannot be locked, because it is another user's or the file system has no locks, counts as open.
    """
    try:
        # some network file systems lock alone only what is open for writing
        descriptor = os.open(folder / INDEX, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        yield isinstance(error, FileNotFoundError)  # who is just making it makes it again
        return
    try:
        yield alone(descriptor) and is_at(descriptor, folder / INDEX)
    finally:
        os.close(descriptor)
