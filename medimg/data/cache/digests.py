"""Digests of files' contents, remembered by path, size and times of change, so that a file is hashed once."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from medimg.data.cache.small_files import keep, read_kept
from medimg.files import sha256

log = logging.getLogger(__name__)

State = tuple[int, int, int]  # bytes, and the ns at which it was changed: as it says, and as the system noted
_THREADS = 4
_SETTLED = 2_000_000_000  # ns after which a further change shows in a file's time, on any file system


def file_digests(files: Sequence[Path], cache: Path) -> list[str]:
    """The SHA-256 of each file's content, as hex; empty for a file that cannot be read.

    Args:
        files: absolute paths; one may come several times.
        cache: the cache folder.
    """
    if not files:
        return []
    store = cache / "digests" / f"{_place(files)}.json"
    known = _load(store)
    states = {str(file): state_of(file) for file in files}
    digests = {name: known[name][3] for name, state in states.items() if name in known and state == known[name][:3]}
    missing = [name for name in states if name not in digests]
    began = time.time_ns()
    with ThreadPoolExecutor(_THREADS) as pool:
        made = dict(zip(missing, pool.map(_digest, missing), strict=True))
    fresh = {
        name: (*state, made[name])
        for name in missing
        if made[name] and (state := states[name]) == state_of(Path(name)) and state and began - state[2] > _SETTLED
    }
    if fresh:
        keep(store, json.dumps(_load(store) | fresh).encode())
    digests.update(made)
    return [digests[str(file)] for file in files]


def code_digest(*places: Path) -> str:
    """Of the source code in files and folders: what it computes is not taken for what other code computed."""
    digest = hashlib.sha256()
    for place in places:
        for file in sorted(place.glob("*.py")) if place.is_dir() else [place]:
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def versions_of(packages: Sequence[str]) -> dict[str, str | None]:
    """The versions of installed packages; None for one that is not there."""
    return {package: _version(package) for package in packages}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def state_of(file: Path) -> State | None:
    """What shows that a file has changed; None where there is none.

    Whoever writes a file can set its time back (cp -p, rsync), but not the system's.
    """
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _digest(name: str) -> str:
    try:
        return sha256(Path(name))
    except OSError:
        return ""


def _place(files: Sequence[Path]) -> str:
    """One name for all lists of files of the same folders."""
    folders = {str(file.parent) for file in files}
    return hashlib.sha256(os.path.commonpath(folders).encode()).hexdigest()[:16]


def _load(store: Path) -> dict[str, tuple[int, int, int, str]]:
    try:
        content = read_kept(store)
        kept = {} if content is None else json.loads(content)
        return {name: (size, said, noted, str(digest)) for name, (size, said, noted, digest) in kept.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        log.warning("%s: the digests kept there cannot be read (%s) and are made again", store, error)
        return {}
