"""How much memory can be had, and among how many processes it is shared."""

import os
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_UNKNOWN = 4 * 10**9  # bytes taken for free where the system tells nothing
_UNLIMITED = 2**62

# of a control group: the limit, and what is used; version 2, and version 1
_FILES_2 = ("memory.max", "memory.current")
_FILES_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def processes() -> int:
    """How many processes on this machine keep tables as this one does.

    The processes of a run on several devices (LOCAL_WORLD_SIZE, or WORLD_SIZE, which Lightning sets alone and which
    counts all machines), times the jobs that the local launcher runs at a time (MEDIMG_JOBS).
    """
    return _number("LOCAL_WORLD_SIZE", _number("WORLD_SIZE", 1)) * _number("MEDIMG_JOBS", 1)


def free_memory() -> int:
    """Bytes that can be had without swapping, here and in the container or job of a cluster that this runs in.

    Half of all memory where the system does not tell what is free.
    """
    return min([_available(), *(_room(*files) for files in _limits())])


def _number(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return max(1, int(value)) if value.isascii() and value.isdigit() else default


def _available() -> int:
    for line in _lines(_PROC / "meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return _UNKNOWN


def _limits() -> Iterator[tuple[Path, Path]]:
    """The files of every group that this process is in: its own and those above it, which limit it as well."""
    for line in _lines(_PROC / "self" / "cgroup"):
        number, controllers, path = line.split(":", 2)
        if number == "0":
            root, names = _CGROUPS, _FILES_2
        elif "memory" in controllers.split(","):
            root, names = _CGROUPS / "memory", _FILES_1
        else:
            continue
        own = Path(path.lstrip("/"))
        for group in (own, *own.parents):
            yield root / group / names[0], root / group / names[1]


def _room(limit: Path, used: Path) -> int:
    """What a group may still take; a container does not see all groups that it is in."""
    try:
        return max(0, int(limit.read_text(encoding="ascii")) - int(used.read_text(encoding="ascii")))
    except (OSError, ValueError):  # also max: no limit
        return _UNLIMITED


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
