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


class Identity(NamedTuple):
    """What tells prepared images from others.

    Attributes:
        depends_on: see the function of that name.
        hashed: when the files were hashed, in ns of Unix time: what has changed since is of another content.
    """

    depends_on: dict[str, Any]
    hashed: int


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
        self._identity: Identity | None = None

    def identity(self, cache: Path) -> "Identity":
        """What they depend on, found out once; the cache folder remembers digests of files."""
        if self._identity is None:
            hashed = time.time_ns()
            self._identity = Identity(depends_on(self.manifest, self.preprocessing, cache), hashed)
        return self._identity

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
        hashed: see `Identity`.
    """

    def __init__(self, files: ImageFiles, rows: Rows, hashed: int) -> None:
        self.files, self.rows, self.hashed = files, rows, hashed
        self._keeps, self._tells = True, True

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
        record = manifest.records[position]
        state = manifest.file(record).stat()
        is_older = max(state.st_mtime_ns, state.st_ctime_ns) <= self.hashed
        if not is_older and self._tells:
            self._tells = False
            log.warning("%s was changed after this run began, or its clock is ahead: it is not cached", record.path)
        return is_older


def open_images(files: ImageFiles, cache: Cache) -> Images:
    """The same images, kept as the cache says.

    Raises:
        RequestError: see `Cache.open`.
    """
    manifest, preprocessing = files.manifest, files.preprocessing
    if cache.mode == "none" or not manifest.records:
        return files
    identity = files.identity(cache.folder)
    shape = (preprocessing.channels, preprocessing.height, preprocessing.width)
    first = files[0]
    rows = cache.open(
        "images",
        identity.depends_on,
        {"name": str(manifest.root), "rows": len(manifest.records), "shape": list(shape)},
        number=len(manifest.records),
        shape=shape,
        itemsize=first.itemsize if isinstance(first, Tensor) else 1,
    )
    return files if rows is None else KeptImages(files, rows, identity.hashed)


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
