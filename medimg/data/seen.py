"""Whether a model was made of images that it is about to be scored on."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from medimg.data.manifest import SPLITS, Manifest, Record, Split, examples
from medimg.files import sha256

log = logging.getLogger(__name__)


def seen_in(own: Manifest, manifest: Manifest, records: Sequence[Record]) -> dict[Split, list[str]]:
    """The paths of those records whose image stands in a split of another manifest, byte for byte, by that split.

    Contents are compared, not names: folders are moved, and `1.png` is the name of many. An image that was saved again
    is not recognised. Images that have vanished cannot be compared; that is logged.

    Args:
        own: what the model was made of: trained on, chosen by, tested on.
        manifest: of the records.
        records: what it is to be scored on.
    """
    sizes = {file: _size(file) for file in {own.file(record) for record in own.records}}
    _tell_gone(own, sizes)
    ours = {manifest.file(record) for record in records}
    alike = {_size(file) for file in ours} & {size for size in sizes.values() if size is not None}
    known = _contents(file for file, size in sizes.items() if size in alike)
    asked = _contents(file for file in ours if _size(file) in alike)
    found: dict[Split, list[str]] = {}
    for split in SPLITS:
        seen = {(known[own.file(one)], one.frame) for one in own.of(split) if own.file(one) in known}
        files = [(record, manifest.file(record)) for record in records]
        found[split] = [one.path for one, file in files if file in asked and (asked[file], one.frame) in seen]
    return found


def _tell_gone(own: Manifest, sizes: Mapping[Path, int | None]) -> None:
    files = {own.file(record) for split in ("train", "val") for record in own.of(split)}
    if gone := sum(sizes[file] is None for file in files):
        total = len(files)
        log.warning(
            "%d of the %d training and validation files are gone: whether they are among these is not known",
            gone,
            total,
        )


def told(paths: Sequence[str], total: int) -> str:
    """A clause for a message."""
    return f"{len(paths)} of these {total} images ({examples(paths)})"


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _contents(files: Iterable[Path]) -> dict[Path, str]:
    return {file: sha256(file) for file in files}
