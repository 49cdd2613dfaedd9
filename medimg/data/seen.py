"""Whether a model was trained on images that it is about to be scored on."""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from medimg.data.manifest import Manifest, Record, examples

log = logging.getLogger(__name__)

_PIECE = 1 << 20


def seen_in(trained_on: Manifest, manifest: Manifest, records: Sequence[Record]) -> list[str]:
    """The paths of those records whose image stands in the train split of another manifest, byte for byte.

    Contents are compared, not names: folders are moved, and `1.png` is the name of many. An image that was saved again
    is not recognised. Training images that have vanished cannot be compared; that is logged.

    Args:
        trained_on: what the model was trained on.
        manifest: of the records.
        records: what it is to be scored on.
    """
    train = trained_on.of("train")
    sizes = {file: _size(file) for file in {trained_on.file(record) for record in train}}
    if gone := sum(size is None for size in sizes.values()):
        log.warning("%d of the %d training files are gone: whether they are among these is not known", gone, len(sizes))
    ours = {manifest.file(record) for record in records}
    alike = {_size(file) for file in ours} & {size for size in sizes.values() if size is not None}
    trained = _contents(file for file, size in sizes.items() if size in alike)
    asked = _contents(file for file in ours if _size(file) in alike)
    seen = {(trained[file], record.frame) for record in train for file in [trained_on.file(record)] if file in trained}
    return [
        record.path
        for record in records
        for file in [manifest.file(record)]
        if file in asked and (asked[file], record.frame) in seen
    ]


def told(paths: Sequence[str], total: int) -> str:
    """A clause for a message."""
    return f"{len(paths)} of these {total} images ({examples(paths)})"


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _contents(files: Iterable[Path]) -> dict[Path, str]:
    return {file: _digest(file) for file in files}


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
