"""The result of the quick check, kept in the cache folder: the jobs of a sweep have the same data."""

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec

from medimg.checks.findings import Report
from medimg.data.cache.digests import code_digest
from medimg.data.cache.small_files import keep, read_kept
from medimg.data.manifest import Manifest, Record
from medimg.errors import RequestError

log = logging.getLogger(__name__)


def kept_report(manifest: Manifest, cache: Path | None, work: Callable[[Manifest], Report]) -> Report:
    """What `work` finds in the manifest: as it was found before in the same data and split, or anew.

    Args:
        manifest: the images, with their splits.
        cache: the cache folder; None: nothing is kept.
        work: the check; it looks at no more than the manifest and the bytes of its files.
    """
    key = None if cache is None else _key(manifest)
    if cache is None or key is None:
        return work(manifest)
    store = cache / "checks" / f"{key}.json"
    report = _load(store)
    if report is None:
        report = work(manifest)
        keep(store, msgspec.json.encode(report))
    return report


def _key(manifest: Manifest) -> str | None:
    """A name for all that the result depends on, the code of the checks included; None where a file is missing."""
    digest = hashlib.sha256()
    digest.update(code_digest(Path(__file__).parent).encode())
    try:
        digest.update(json.dumps([manifest.fingerprint(), manifest.classes]).encode())
        for record in manifest.records:
            digest.update(json.dumps(_state(manifest, record)).encode())
    except (RequestError, OSError):  # the check itself says which file it is
        return None
    return digest.hexdigest()[:24]


def _state(manifest: Manifest, record: Record) -> list[object]:
    """What of an image is not in the fingerprint of the manifest."""
    changed = manifest.file(record).stat().st_mtime_ns
    return [record.file, record.frame, record.group, record.columns, changed]


def _load(store: Path) -> Report | None:
    try:
        content = read_kept(store)
        return None if content is None else msgspec.json.decode(content, type=Report)
    except (OSError, msgspec.DecodeError) as error:
        log.warning("%s: the check kept there cannot be read (%s) and is made again.", store, error)
        return None
