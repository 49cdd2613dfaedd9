"""What of each image is enough to find its copies: a digest of the pixels and a thumbnail, made once and kept."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimg.data.cache.small_files import keep
from medimg.data.manifest import Manifest
from medimg.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

SIDE = 64  # pixels a side of a thumbnail
_DIGEST = 16  # bytes
_VERSION = 3  # of what a signature is; raised whenever pixels come out differently
_MANY = 2000  # images from which on it is said that looking at them takes a while


@dataclass(frozen=True)
class Signatures:
    """Digests and thumbnails of the images that can be read.

    Attributes:
        positions: [n] where in the manifest's records each image stands, ascending.
        digests: [n, 16] uint8, of size and decoded pixels: equal for the same pixels in any file format. Grey stored
            as colour, or 8 bits stored as 16 by repetition, is the same.
        thumbnails: [n, 64, 64] uint8, grey, stretched to a square, every value being the mean of what it covers.
    """

    positions: "NDArray[np.int64]"
    digests: "NDArray[np.uint8]"
    thumbnails: "NDArray[np.uint8]"


def signatures(manifest: Manifest, *, workers: int = 0, cache: Path | None = None) -> Signatures:
    """The signatures of a manifest's images; those that cannot be read are left out.

    Args:
        manifest: the images.
        workers: threads that decode; 0: one for each core. (The decoders release Python's lock, and threads start at
            once, where processes would import torch first.)
        cache: the cache folder, where signatures are kept by file, size and time of change; None: nothing is kept.
    """
    import numpy as np

    keys = [_key(manifest, position) for position in range(len(manifest.records))]
    store = None if cache is None else cache / "signatures" / f"{_place(manifest)}.npz"
    known = {} if store is None else _load(store)
    missing = [position for position, key in enumerate(keys) if key is not None and key not in known]
    if len(missing) > _MANY:
        log.info("Reading %d images to find copies among them; later runs remember.", len(missing))
    made = {key: one for position, one in _make(manifest, missing, workers) if (key := keys[position]) and one}
    known.update(made)
    if made and store is not None:
        _save(store, known)
    found = [(position, known[key]) for position, key in enumerate(keys) if key in known]
    return Signatures(
        np.array([position for position, _ in found], np.int64),
        np.array([digest for _, (digest, _) in found], np.uint8).reshape(-1, _DIGEST),
        np.array([thumbnail for _, (_, thumbnail) in found], np.uint8).reshape(-1, SIDE, SIDE),
    )


_One = tuple[Any, Any]  # digest [16] and thumbnail [64, 64], both uint8


def signature(pixels: "NDArray[Any]") -> _One:
    """Digest and thumbnail of one image as read: [3, H, W], uint8, or float in any range."""
    import numpy as np

    if np.array_equal(pixels[0], pixels[1]) and np.array_equal(pixels[0], pixels[2]):
        pixels = pixels[:1]
    if pixels.dtype != np.uint8:
        # 8 bits stored as 16 come as k * 257 / 65535, which is k / 255
        eight = np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)
        if np.allclose(eight / np.float32(255), pixels, rtol=0, atol=1e-6):
            pixels = eight
    pixels = np.ascontiguousarray(pixels)
    head = f"{pixels.dtype} {pixels.shape}".encode()
    digest = hashlib.blake2b(head + pixels.tobytes(), digest_size=_DIGEST).digest()
    return np.frombuffer(digest, np.uint8), _thumbnail(pixels)


def _thumbnail(pixels: "NDArray[Any]") -> "NDArray[np.uint8]":
    import numpy as np
    from PIL import Image

    if pixels.dtype == np.uint8:
        image = Image.fromarray(pixels[0]) if len(pixels) == 1 else Image.fromarray(pixels.transpose(1, 2, 0))
        return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    grey = pixels.mean(axis=0, dtype=np.float32) if len(pixels) > 1 else pixels[0].astype(np.float32)
    small = np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
    low, high = float(small.min()), float(small.max())
    # 12 bits of 16 would be a handful of grey values out of 256: they are spread, and comparing does not mind
    spread = (small - low) * (255 / (high - low)) if high > low else np.zeros_like(small)
    return np.rint(spread).astype(np.uint8)


def _make(manifest: Manifest, positions: Sequence[int], workers: int) -> Iterator[tuple[int, _One | None]]:
    def one(position: int) -> _One | None:
        try:
            record = manifest.records[position]
            return signature(manifest.read(record, 3).numpy())
        except RequestError as error:
            log.debug("left out of the search for copies: %s", error)
            return None

    count = workers or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))
    with ThreadPoolExecutor(count) as pool:
        yield from zip(positions, pool.map(one, positions), strict=True)


def _key(manifest: Manifest, position: int) -> str | None:
    """What tells one state of one image from another; None where the file is gone."""
    record = manifest.records[position]
    file = manifest.file(record).absolute()
    try:
        state = file.stat()
    except OSError:
        return None
    shown = f"{record.frame} {manifest.window}"
    return json.dumps([str(file), shown, state.st_size, state.st_mtime_ns])


def _place(manifest: Manifest) -> str:
    """One name for all manifests of the same folders: folds, other splits and a run's own manifest share signatures."""
    folders = {str(manifest.file(record).absolute().parent) for record in manifest.records}
    return hashlib.sha256(f"{_VERSION} {os.path.commonpath(folders) if folders else ''}".encode()).hexdigest()[:16]


def _load(store: Path) -> dict[str, _One]:
    """What is kept; nothing where there is no such file, or it is broken."""
    import numpy as np

    try:
        with np.load(store, allow_pickle=False) as kept:
            keys = json.loads(kept["keys"].tobytes())
            return dict(zip(keys, zip(kept["digests"], kept["thumbnails"], strict=True), strict=True))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except Exception as error:  # a broken zip raises many kinds
        log.warning("%s: the signatures kept there cannot be read (%s) and are made again.", store, error)
        return {}


def _save(store: Path, known: dict[str, _One]) -> None:
    import numpy as np

    newest = {tuple(json.loads(key)[:2]): key for key in known}  # a file that has changed leaves its old state behind
    keys = list(newest.values())
    stream = BytesIO()
    np.savez(
        stream,
        keys=np.frombuffer(json.dumps(keys).encode(), np.uint8),
        digests=np.stack([known[key][0] for key in keys]),
        thumbnails=np.stack([known[key][1] for key in keys]),
    )
    keep(store, stream.getvalue())
