"""Small files of the cache folder: where they cannot be written, a run says so once and goes on without them."""

import logging
from pathlib import Path

from medimg.files import write_bytes

log = logging.getLogger(__name__)

_told: set[Path] = set()  # cache folders of which this process has said it


def read_kept(store: Path) -> bytes | None:
    """What a file holds; None where there is none, or where its folder is no folder.

    Raises:
        OSError: it is there and cannot be read.
    """
    try:
        return store.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def keep(store: Path, content: bytes) -> None:
    """Writes `CACHE/KIND/NAME`, as far as that can be done."""
    try:
        write_bytes(store, content)
    except OSError as error:
        cache = store.parent.parent
        if cache not in _told:
            _told.add(cache)
            what = "digests, checks and the like cannot be kept there"
            log.warning("%s: %s (%s), so each run makes them anew", cache, what, error.strerror or error)
