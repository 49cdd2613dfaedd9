"""The images of a manifest by their position, read and resized: from their files, or from a table that keeps them."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from medimg.data.cache.digests import code_digest, file_digests, versions_of
from medimg.data.cache.opening import Cache
from medimg.data.cache.rows import Rows
from medimg.data.manifest import Manifest
from medimg.data.preprocessing import Preprocessing
from medimg.data.readers import check_channels
from medimg.data.readers.refusals import SettingError
from medimg.errors import RequestError

log = logging.getLogger(__name__)

# what decides what comes out of a file
_HERE = Path(__file__).parent
_CODE = (_HERE / "readers", _HERE / "preprocessing.py", _HERE.parent / "config" / "windows.py")
_LIBRARIES = (
    "torch",
    "torchvision",
    "pillow",
    "numpy",
    "pydicom",
    "pylibjpeg-libjpeg",
    "pylibjpeg-openjpeg",
    "nibabel",
)


class Unreadable(NamedTuple):
    """An image that could not be read: its path as in the manifest, and the message for the user.

    `skippable`: whether `data.on_error=skip` would have left it out.
    """

    path: str
    message: str
    skippable: bool = True


class Images(Protocol):
    """Images by position in the manifest."""

    def load(self, positions: Sequence[int]) -> list[Tensor | Unreadable]:
        """Each as uint8 or uint16 [C, H, W], as `Preprocessing.prepare` leaves it; not to be changed in place.

        One that cannot be read is an item too, not an exception: see `ImageDataset`.
        """


class ImageFiles:
    """Images read from their files, each time anew.

    Args:
        manifest: the images.
        preprocessing: how they are prepared.
        threads: that read at once; the decoders release Python's lock.

    Raises:
        RequestError: the manifest's CT windows do not go with the channels.
    """

    def __init__(self, manifest: Manifest, preprocessing: Preprocessing, threads: int = 1) -> None:
        check_channels(manifest.window, preprocessing.channels)
        self.manifest, self.preprocessing, self.threads = manifest, preprocessing, threads
        self._pool: ThreadPoolExecutor | None = None
        self._owner = 0

    def load(self, positions: Sequence[int]) -> list[Tensor | Unreadable]:
        """All of them, in their order."""
        if self.threads <= 1 or len(positions) <= 1 or get_worker_info() is not None:  # workers are many already
            return [self[position] for position in positions]
        if self._pool is None or self._owner != os.getpid():  # threads do not survive the fork of a worker
            self._pool, self._owner = ThreadPoolExecutor(self.threads, "images"), os.getpid()
        return list(self._pool.map(self.__getitem__, positions))

    def __getitem__(self, position: int) -> Tensor | Unreadable:
        record = self.manifest.records[position]
        try:
            image = self.manifest.read(record, self.preprocessing.channels)
        except RequestError as error:
            return Unreadable(record.path, str(error), skippable=not isinstance(error, SettingError))
        return self.preprocessing.prepare(image)


class KeptImages:
    """Images from a table, whose rows are filled from the files as they are asked for.

    Args:
        files: to read from what is not there yet.
        rows: the table.
        hashed: when the files were hashed, in nanoseconds of Unix time: what has changed since is of another content.
    """

    def __init__(self, files: ImageFiles, rows: Rows, hashed: int) -> None:
        self.files, self.rows, self.hashed = files, rows, hashed
        self._keeps = True

    def load(self, positions: Sequence[int]) -> list[Tensor | Unreadable]:
        """The rows, and the files of those that are not there, which are kept."""
        kept = [self.rows.get(position) for position in positions]
        missing = [position for position, row in zip(positions, kept, strict=True) if row is None]
        made = iter(self.files.load(missing))
        images = [next(made) if row is None else torch.from_numpy(row) for row in kept]
        if missing and self._keeps:
            self._keep(dict(zip(positions, images, strict=True)), missing)
        return images

    def _keep(self, images: Mapping[int, Tensor | Unreadable], missing: Sequence[int]) -> None:
        try:
            for position in missing:
                image = images[position]
                if isinstance(image, Tensor) and self._is_as_hashed(position):
                    self.rows.put(position, image.numpy())
        except OSError as error:
            self._keeps = False
            log.warning("images are no longer cached: %s", error.strerror or error)

    def _is_as_hashed(self, position: int) -> bool:
        manifest = self.files.manifest
        state = manifest.file(manifest.records[position]).stat()
        return max(state.st_mtime_ns, state.st_ctime_ns) <= self.hashed


def open_images(manifest: Manifest, preprocessing: Preprocessing, cache: Cache, threads: int) -> Images:
    """The images of a manifest, kept as the cache says.

    Args:
        manifest: the images.
        preprocessing: how they are prepared.
        cache: where they are kept.
        threads: how many images are decoded at once.

    Raises:
        RequestError: see `ImageFiles` and `Cache.open`.
    """
    files = ImageFiles(manifest, preprocessing, threads)
    hashed = time.time_ns()
    if cache.mode == "none" or not manifest.records:
        return files
    shape = (preprocessing.channels, preprocessing.height, preprocessing.width)
    first = files[0]
    rows = cache.open(
        "images",
        depends_on(manifest, preprocessing, cache.folder),
        {"name": str(manifest.root), "rows": len(manifest.records), "shape": list(shape)},
        number=len(manifest.records),
        shape=shape,
        itemsize=first.itemsize if isinstance(first, Tensor) else 1,
    )
    return files if rows is None else KeptImages(files, rows, hashed)


def depends_on(manifest: Manifest, preprocessing: Preprocessing, cache: Path) -> dict[str, Any]:
    """All that prepared images depend on: contents, frames, what is done to them, by which code."""
    digests = file_digests([manifest.file(record).absolute() for record in manifest.records], cache)
    contents = [[digest, record.frame] for digest, record in zip(digests, manifest.records, strict=True)]
    prepared = {name: value for name, value in preprocessing.as_dict().items() if name not in {"mean", "std"}}
    return {
        "images": hashlib.sha256(json.dumps(contents).encode()).hexdigest(),
        "preprocessing": prepared,
        "window": manifest.window,
        "code": code_digest(*_CODE),
        "libraries": versions_of(_LIBRARIES),
    }
