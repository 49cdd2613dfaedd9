"""Leaves out images that cannot be read, where that is asked for: counted, by name, and before anything is trained."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from medimg.config.windows import WindowValue
from medimg.data.manifest import Manifest, Record, examples
from medimg.errors import RequestError
from medimg.files import write_json

log = logging.getLogger(__name__)


def without_unreadable(manifest: Manifest, window: WindowValue | None, cache: Path) -> Manifest:
    """The manifest of the images that can be read whole; the others are in its `skipped`, with the reason.

    Every image is decoded once; what was found is kept in the cache for as long as the images stay the same. The split
    of the images that are left is what it was.

    Raises:
        RequestError: no image can be read.
    """
    bad = _unreadable(manifest, window, cache)
    if not bad and not manifest.skipped:
        return manifest
    kept = tuple(record for record in manifest.records if record.path not in bad)
    if not kept:
        raise RequestError(f"none of the {len(manifest.records)} images can be read: {next(iter(bad.values()))}")
    skipped = {**manifest.skipped, **bad}
    log.warning("data.on_error=skip: %d images are left out: %s", len(skipped), examples(sorted(skipped)))
    return replace(manifest, records=kept, skipped=skipped)


def _unreadable(manifest: Manifest, window: WindowValue | None, cache: Path) -> Mapping[str, str]:
    """Paths and reasons."""
    key = json.dumps([manifest.images_fingerprint(), str(window)])
    file = cache / "readable" / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    if file.is_file():
        known: dict[str, str] = json.loads(file.read_text(encoding="utf-8"))
        return known
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(cores) as pool:  # decoders release Python's lock
        reasons = list(pool.map(lambda record: _problem(manifest, record, window), manifest.records))
    found = {r.path: reason for r, reason in zip(manifest.records, reasons, strict=True) if reason is not None}
    write_json(file, found)
    return found


def _problem(manifest: Manifest, record: Record, window: WindowValue | None) -> str | None:
    from medimg.data.readers import read_image

    try:
        read_image(manifest.file(record), 3, frame=record.frame, window=window)
    except RequestError as error:
        return str(error)
    return None
