"""All that a cache folder holds, and how it is emptied. What medimg did not make is neither counted nor removed."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from medimg.data.cache.entries import KINDS, Entry, entries, finish_removals, remove, taken
from medimg.data.cache.in_use import remove_unless_held

Held = Literal["images", "features", "phantoms", "signatures", "digests", "readable", "checks"]
HELD: tuple[Held, ...] = get_args(Held)

# of what is no table: what it is, and how its files or folders are named where they are written
_OTHERS: dict[Held, tuple[str, str]] = {
    "phantoms": ("sets of synthetic images", r"[a-z]+-[0-9a-f]{12}"),
    "signatures": ("thumbnails, for finding copies", r"[0-9a-f]{16}\.npz"),
    "digests": ("digests of the contents of files", r"[0-9a-f]{16}\.json"),
    "readable": ("which images can be read, for data.on_error=skip", r"[0-9a-f]{16}\.json"),
    "checks": ("results of the quick check", r"[0-9a-f]{24}\.json"),
}
_ABOUT_KINDS: dict[Held, str] = {
    "images": "decoded and resized images",
    "features": "what frozen trunks make of them",
    **{kind: what for kind, (what, _) in _OTHERS.items()},
}
_ABANDONED = 24 * 3600  # seconds after which nobody is still writing an unfinished file


@dataclass(frozen=True)
class Part:
    """A part of the cache: a table, or all others of a kind.

    `rows` is how many rows the table has room for, or how many sets or files there are; `shape` is of a row; `used` is
    Unix time, of the last use of a table and of the last writing of others.
    """

    kind: Held
    of: str
    rows: int | None
    shape: Sequence[int]
    size: int
    used: float


def contents(cache: Path) -> list[Part]:
    """The tables, the longest unused first, and a part for each other kind that is there."""
    others = [_other(cache, kind) for kind in _OTHERS]
    return [*map(_table, entries(cache)), *(part for part in others if part is not None)]


def kinds_described() -> str:
    """A line for each kind, for the help."""
    return "\n".join(f"  {kind:18} {what}" for kind, what in _ABOUT_KINDS.items())


def clear(cache: Path, kinds: Sequence[Held] = HELD) -> list[Path]:
    """Empties the cache, or some kinds of it; processes that are at work go on.

    Who has a table open keeps it, small files are made again where they are missed, and phantoms that are in use stay.

    Returns:
        What stays, because a process needs it.

    Raises:
        OSError: something must not be removed.
    """
    for entry in entries(cache):
        if entry.kind in kinds:
            remove(entry.folder)
    held = []
    for kind in kinds:
        finish_removals(cache / kind)
        for path in [] if kind in KINDS else [*_made(cache, kind), *_abandoned(cache, kind)]:
            if not path.is_dir():
                path.unlink(missing_ok=True)
            elif not remove_unless_held(path):
                held.append(path)
    return held


def _table(entry: Entry) -> Part:
    about = entry.about
    rows, shape = about.get("rows"), about.get("shape") or ()
    return Part(entry.kind, str(about.get("name", "unknown: damaged")), rows, shape, entry.size, entry.used)


def _other(cache: Path, kind: Held) -> Part | None:
    made = list(_made(cache, kind))
    times = [_changed(path) for path in made]
    if not made:
        return None
    return Part(kind, _OTHERS[kind][0], len(made), (), sum(map(taken, made)), max(times))


def _made(cache: Path, kind: Held) -> Iterator[Path]:
    """What is there of a kind that is no table."""
    name = re.compile(_OTHERS[kind][1])
    return (path for path in sorted((cache / kind).glob("*")) if name.fullmatch(path.name))


def _abandoned(cache: Path, kind: Held) -> Iterator[Path]:
    """What killed processes have left unfinished."""
    name = re.compile(rf"\.{_OTHERS[kind][1]}\.\w+")
    found = (path for path in (cache / kind).glob(".*") if name.fullmatch(path.name))
    return (path for path in found if time.time() - _changed(path) > _ABANDONED)


def _changed(path: Path) -> float:
    """When it was written last; 0 where it has just been removed."""
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0
