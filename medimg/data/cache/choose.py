"""Where decoded images and features are kept: as `data.cache` says, or by what there is room for."""

import os
import shutil
from pathlib import Path
from typing import Literal

from medimg.data.cache.entries import gigabytes
from medimg.data.cache.memory import free_memory, processes
from medimg.errors import RequestError

Where = Literal["none", "disk", "memory"]

_SHARE_OF_DISK = 0.5  # of what is free
_SHARE_OF_MEMORY = 0.25  # of what is free
CURES = "a larger data.cache_limit (GB), another paths.cache, or data.cache=memory or none"
_OF_FREE = "of what is free, half on disk and a quarter in memory may be taken"


def choose(
    mode: Literal["auto", "none", "disk", "memory"],
    need: int,
    cache: Path,
    limit: int,
    there: int = 0,
    *,
    full: bool = False,
) -> tuple[Where, str]:
    """Where to keep a table, and why, in words.

    Args:
        mode: `data.cache`.
        need: bytes of the whole table.
        cache: the cache folder.
        limit: bytes that all tables on disk may take.
        there: bytes of this table that are on disk already.
        full: whether it is there whole, so that nothing is added, whatever the limit and the room.

    Raises:
        RequestError: what was asked for by name has no room.
    """
    disk, memory = min(limit, there + free_disk(cache)), free_memory() // processes()
    problem = refusal(cache)
    on_disk = problem or f"{cache} has room for {gigabytes(disk)}"
    room = f"up to {gigabytes(need)} are needed; {on_disk}; {_memory(memory)}"
    if mode == "none":
        return "none", "data.cache=none"
    if mode == "disk" and need > disk and not full:
        raise RequestError(f"data.cache=disk: {room}\n  {CURES}")
    if mode == "memory" and need > memory:
        raise RequestError(f"data.cache=memory: {room}\n  data.cache=disk or none")
    if mode != "auto":
        return mode, f"data.cache={mode}"
    if problem is None and (full or need <= min(limit, there + _SHARE_OF_DISK * free_disk(cache))):
        return "disk", room
    return _memory_or_none(need, memory), room if problem else f"{room} ({_OF_FREE})"


def choose_off_disk(need: int) -> tuple[Literal["memory", "none"], str]:
    """What `auto` comes to for so many bytes where the disk cannot be used, and why."""
    memory = free_memory() // processes()
    return _memory_or_none(need, memory), f"up to {gigabytes(need)} are needed; {_memory(memory)}"


def _memory_or_none(need: int, memory: int) -> Literal["memory", "none"]:
    return "memory" if need <= _SHARE_OF_MEMORY * memory else "none"


def _memory(memory: int) -> str:
    each = f" in each of {processes()} processes" if processes() > 1 else ""
    return f"there is memory for {gigabytes(memory)}{each}"


def free_disk(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    return shutil.disk_usage(_there(folder)).free


def refusal(folder: Path) -> str | None:
    """Why nothing can be kept in a folder, as far as that can be told without writing; None where it can."""
    there = _there(folder)
    if not there.is_dir():
        return f"{there} is no folder"
    if not os.access(there, os.W_OK):
        return f"nothing can be written into {there} (permission denied)"
    return None if shutil.disk_usage(there).total else f"{there} takes no files"  # as /proc


def _there(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    return next((place for place in [folder, *folder.parents] if place.exists()), Path("/"))
