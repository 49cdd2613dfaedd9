"""The tables of the cache folder: folders named by all that their content depends on."""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from medimg.files import write_json

Kind = Literal["images", "features"]
KINDS: tuple[Kind, ...] = ("images", "features")
INDEX = "index"
DTYPES = ("uint8", "uint16", "float32")
_ABOUT = "about.json"
_KEY = re.compile("[0-9a-f]{32}")
_DOOMED = ".removed-"
_REMOVED = re.compile(rf"{re.escape(_DOOMED)}.+-\d+-\d+")
_UNFINISHED = re.compile(rf"\.{re.escape(_ABOUT)}\.\w+")  # what a killed process has left of it


def rows_file(dtype: str) -> str:
    """The name of the file in which a table has its rows of a dtype."""
    return f"{dtype}.rows"


_FILES = frozenset({_ABOUT, INDEX, *map(rows_file, DTYPES)})


@dataclass(frozen=True)
class Entry:
    """One table: its folder, what it says of itself, the bytes that it takes, and its last use in Unix time.

    It says nothing where that was damaged, or is not written yet.
    """

    folder: Path
    kind: Kind
    about: Mapping[str, Any]
    size: int
    used: float


def default_cache() -> Path:
    """Where caches go unless told otherwise."""
    return Path(os.environ.get("MEDIMG_CACHE") or "~/.cache/medimg").expanduser()


def key_of(depends_on: Mapping[str, Any]) -> str:
    """A name for everything that a table's content depends on, given as plain containers."""
    return hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:32]


def open_entry(cache: Path, kind: Kind, depends_on: Mapping[str, Any], about: Mapping[str, Any]) -> Path:
    """The folder of a table, made where it is not there, and marked as used now.

    Args:
        cache: the cache folder.
        kind: what the table holds.
        depends_on: see `key_of`.
        about: what `medimg cache` says of it.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder = cache / kind / key_of(depends_on)
    if not (folder / _ABOUT).is_file():
        write_json(folder / _ABOUT, {**about, "depends_on": dict(depends_on)})
    os.utime(folder / _ABOUT)
    return folder


def entries(cache: Path) -> list[Entry]:
    """All tables of a cache folder, the longest unused first."""
    found = [
        _entry(folder, kind)
        for kind in KINDS
        for folder in sorted((cache / kind).glob("*"))
        if _KEY.fullmatch(folder.name) and _is_table(folder)  # and not one that is being removed, or another's
    ]
    return sorted((entry for entry in found if entry is not None), key=lambda entry: entry.used)


def remove(folder: Path) -> None:
    """Removes a table at once for whoever looks for it; who has it open can go on reading."""
    doomed = folder.with_name(f"{_DOOMED}{folder.name}-{os.getpid()}-{time.monotonic_ns()}")
    with suppress(FileNotFoundError):
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def finish_removals(place: Path) -> None:
    """Removes what killed processes had begun to remove in a folder."""
    for doomed in place.glob(f"{_DOOMED}*"):
        if _REMOVED.fullmatch(doomed.name):
            shutil.rmtree(doomed, ignore_errors=True)


def gigabytes(size: float) -> str:
    """Bytes in GB (10^9), or in MB or kB where that says more."""
    unit, name = next(((unit, name) for unit, name in ((1e9, "GB"), (1e6, "MB")) if size >= unit), (1e3, "kB"))
    return f"{size / unit:.1f} {name}"


def taken(folder: Path) -> int:
    """Bytes on disk of a folder and all below it, or of a file; holes of sparse files take none."""
    size = 0
    for file in (folder, *folder.rglob("*")):
        with suppress(OSError):  # another process may be removing it
            size += file.lstat().st_blocks * 512
    return size


def _is_table(folder: Path) -> bool:
    """Whether a folder holds nothing but what medimg writes: images of others may lie below such a name."""
    try:
        with os.scandir(folder) as found:
            return all(_is_own(file.name) and file.is_file(follow_symlinks=False) for file in found)
    except OSError:
        return False


def _is_own(name: str) -> bool:
    return name in _FILES or _UNFINISHED.fullmatch(name) is not None


def _entry(folder: Path, kind: Kind) -> Entry | None:
    """None where a folder has just been removed."""
    try:
        used = folder.stat().st_mtime
    except OSError:
        return None
    about: Any = {}
    with suppress(OSError, ValueError):
        used = (folder / _ABOUT).stat().st_mtime
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    return Entry(folder, kind, about if isinstance(about, dict) else {}, taken(folder), used)
