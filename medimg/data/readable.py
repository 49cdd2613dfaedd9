"""Leaves out images that cannot be read, where that is asked for: counted, by name, and before anything is trained."""

import hashlib
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from medimg.data.cache.small_files import keep
from medimg.data.manifest import Manifest, Record, examples
from medimg.data.readers.refusals import SettingError
from medimg.errors import RequestError

log = logging.getLogger(__name__)


def without_unreadable(manifest: Manifest, cache: Path) -> Manifest:
    """The manifest of the images that can be read whole; the others are in its `skipped`, with the reason.

    Every image is decoded once; that it can be read is kept in the cache for as long as its file stays the same.

    Raises:
        RequestError: no image can be read, or what is missing is a setting or a package.
    """
    bad = _unreadable(manifest, cache)
    if not bad and not manifest.skipped:
        return manifest
    kept = tuple(record for record in manifest.records if record.path not in bad)
    if not kept:
        raise RequestError(f"none of the {len(manifest.records)} images can be read: {next(iter(bad.values()))}")
    skipped = {**manifest.skipped, **bad}
    what = "1 image is" if len(skipped) == 1 else f"{len(skipped)} images are"
    log.warning("data.on_error=skip: %s left out: %s", what, examples(sorted(skipped)))
    return replace(manifest, records=kept, skipped=skipped)


def _unreadable(manifest: Manifest, cache: Path) -> dict[str, str]:
    """Paths and reasons. Bad images are looked at anew each time: what was wrong may have been this machine."""
    file = cache / "readable" / f"{hashlib.sha256(str(manifest.root).encode()).hexdigest()[:16]}.json"
    known = _load(file)
    states = _states(manifest)
    new = [r for r in manifest.records if states[r.path] is None or known.get(r.path) != states[r.path]]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(cores) as pool:  # decoders release Python's lock
        reasons = list(pool.map(lambda record: _problem(manifest, record), new))
    bad = {record.path: reason for record, reason in zip(new, reasons, strict=True) if reason is not None}
    if new:
        keep(file, json.dumps({path: state for path, state in states.items() if path not in bad}).encode())
    return bad


def _states(manifest: Manifest) -> dict[str, str | None]:
    """By path, what tells one state of an image from another, and one way to read it; None where it cannot be opened.

    Files are opened, not only asked for: one that has lost its permissions is otherwise what it was.
    """
    names = [record.file or record.path for record in manifest.records]
    found = {name: _state(manifest.root / name) for name in set(names)}  # the slices of a volume share a file
    return {
        record.path: None if found[name] is None else f"{record.frame} {manifest.window} {found[name]}"
        for record, name in zip(manifest.records, names, strict=True)
    }


def _state(file: Path) -> str | None:
    try:
        with file.open("rb") as stream:
            status = os.fstat(stream.fileno())
    except OSError:
        return None
    return f"{status.st_size} {status.st_mtime_ns}"


def _problem(manifest: Manifest, record: Record) -> str | None:
    try:
        manifest.read(record, 3)
    except SettingError:
        raise
    except RequestError as error:
        return str(error)
    return None


def _load(file: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
