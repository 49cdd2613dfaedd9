"""The images of a manifest by their position, read and resized: from their files, or from a table that keeps them."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from medimg.data.cache.digests import State, code_digest, file_digests, state_of, versions_of
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
        states: of each file before it was hashed: one that has another state since may be of another content.
    """

    depends_on: dict[str, Any]
    states: dict[Path, State | None]


class Images(Protocol):
    """Images by position in the manifest."""

    def load(self, positions: Sequence[int]) -> list[Tensor | Unreadable]:
        """Each as uint8 or uint16 [C, H, W], as `Preprocessing.prepare` leaves it; not to be changed in place.

        One that cannot be read is an item too, not an exception: see `ImageDataset`.
        """

    def gather(self, positions: Sequence[int]) -> Tensor | None:
        """All of them as one tensor [B, C, H, W] that may be changed, where they are kept in one dtype; else None."""


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
            states = {file: state_of(file) for file in map(self.manifest.file, self.manifest.records)}
            self._identity = Identity(depends_on(self.manifest, self.preprocessing, cache), states)
        return self._identity

    def is_as_hashed(self, position: int) -> bool:
        """Whether the image's file is the one that `identity` is of, and not changed since."""
        file = self.manifest.file(self.manifest.records[position])
        return self._identity is not None and state_of(file) == self._identity.states[file]

    def gather(self, positions: Sequence[int]) -> None:
        """Files give their images one by one."""

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
        rows: the table, by the files' `identity`.
    """

    def __init__(self, files: ImageFiles, rows: Rows) -> None:
        self.files, self.rows = files, rows
        self._keeps, self._tells = True, True

    def gather(self, positions: Sequence[int]) -> Tensor | None:
        """Read in one go."""
        rows = self.rows.gather(positions)
        return None if rows is None else torch.from_numpy(rows)

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
                if isinstance(image, Tensor) and self._may_keep(position):
                    self.rows.put(position, image.numpy())
        except OSError as error:
            self._keeps = False
            log.warning("images are no longer cached: %s", error.strerror or error)

    def _may_keep(self, position: int) -> bool:
        unchanged = self.files.is_as_hashed(position)
        if not unchanged and self._tells:
            self._tells = False
            path = self.files.manifest.records[position].path
            log.warning("%s was changed after this run began: what changes meanwhile is not cached", path)
        return unchanged


def open_images(files: ImageFiles, cache: Cache) -> Images:
    """The same images, kept as the cache says.

    Raises:
        RequestError: see `Cache.open`.
    """
    manifest, preprocessing = files.manifest, files.preprocessing
    if cache.mode == "none" or not manifest.records:
        return files
    shape = (preprocessing.channels, preprocessing.height, preprocessing.width)
    first = files[0]
    rows = cache.open(
        "images",
        files.identity(cache.folder).depends_on,
        {"name": str(manifest.root), "rows": len(manifest.records), "shape": list(shape)},
        number=len(manifest.records),
        shape=shape,
        itemsize=first.itemsize if isinstance(first, Tensor) else 1,
    )
    return files if rows is None else KeptImages(files, rows)


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
