"""Finds copies among images: the same pixels, or nearly the same after resizing, compressing or brightening."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medimg.data.manifest import Manifest
from medimg.data.signatures import SIDE, signatures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COPY_DISTANCE = 0.2  # X-rays of different patients stay above 0.28, copies below 0.16: measured on 345 real ones
_COMPARED = SIDE // 2  # pixels a side of what is compared
_NORM = 4000  # sums of products of integer vectors of this length stay below 2**24: exact as float32, in any order
_BLOCK = 2048  # images compared with as many others at once: 16 MB
_MOST = 100  # near copies kept of one image; more join the same cluster through these


@dataclass(frozen=True)
class Pair:
    """Two images that are copies of each other.

    Attributes:
        first: position in the manifest's records.
        second: the same; greater than `first`.
        exact: the decoded pixels are the same.
        distance: 1 minus the correlation of the two thumbnails without their coarse structure, 0 to 2; 0 where exact.
    """

    first: int
    second: int
    exact: bool
    distance: float


def find_copies(manifest: Manifest, *, workers: int = 0, cache: Path | None = None) -> list[Pair]:
    """Exact and near duplicates among a manifest's images, sorted by position.

    Images that cannot be read are left out. Of images with the same pixels each is paired with the first of them, and
    only that first one is compared with the others for near duplicates. So every copy stands in some pair, every
    cluster is connected, and a thousand blank images do not make half a million pairs.

    Args:
        manifest: the images.
        workers: threads that decode; 0: one for each core.
        cache: the cache folder, where signatures of the images are kept; None: they are made anew.
    """
    return find_similar(manifest, COPY_DISTANCE, workers=workers, cache=cache)


def find_similar(manifest: Manifest, distance: float, *, workers: int = 0, cache: Path | None = None) -> list[Pair]:
    """The same, with near duplicates up to another distance."""
    import numpy as np

    found = signatures(manifest, workers=workers, cache=cache)
    names = [digest.tobytes() for digest in found.digests]
    first: dict[bytes, int] = {}
    for index, name in enumerate(names):
        first.setdefault(name, index)
    at = found.positions.tolist()
    pairs = [Pair(at[first[name]], at[i], True, 0.0) for i, name in enumerate(names) if first[name] != i]
    alone = np.array(sorted(first.values()), np.int64)
    vectors = descriptors(found.thumbnails[alone])
    for one, other, apart in _near(vectors, distance):
        pairs.append(Pair(at[alone[one]], at[alone[other]], False, apart))
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))


def clusters(count: int, pairs: Sequence[Pair]) -> list[list[int]]:
    """The connected components of `count` images, each ascending, sorted by their first image; single ones included."""
    parent = list(range(count))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    for pair in pairs:
        one, other = sorted((root(pair.first), root(pair.second)))
        parent[other] = one
    members: dict[int, list[int]] = {}
    for position in range(count):
        members.setdefault(root(position), []).append(position)
    return list(members.values())


def descriptors(thumbnails: "NDArray[np.uint8]") -> "NDArray[np.int16]":
    """Integer vectors [n, 1024] whose scalar products tell how alike thumbnails [n, 64, 64] are.

    Each is the thumbnail at half its size, less its blurred self: without the coarse structure, which all chests
    share. Its length is 4000, or 0 for a blank image. Brightness and contrast do not change it. All is computed in
    integers, up to the scaling, so that it comes out the same on any machine.
    """
    import numpy as np

    result = np.zeros((len(thumbnails), _COMPARED * _COMPARED), np.int16)
    for start in range(0, len(thumbnails), _BLOCK):
        block = thumbnails[start : start + _BLOCK].astype(np.int64)
        small = block.reshape(len(block), _COMPARED, 2, _COMPARED, 2).sum(axis=(2, 4))
        detail = (256 * small - _blurred(small)).reshape(len(block), -1)
        detail = detail * detail.shape[1] - detail.sum(axis=1, keepdims=True)
        length = np.sqrt((detail.astype(np.float64) ** 2).sum(axis=1, keepdims=True))
        scaled = np.divide(detail * float(_NORM), length, out=np.zeros(detail.shape), where=length > 0)
        result[start : start + _BLOCK] = np.rint(scaled).astype(np.int16)
    return result


def _blurred(images: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """256 times the images [n, h, w] after a binomial blur, a Gaussian of standard deviation 1 in integers."""
    import numpy as np

    for axis in (1, 2):
        size = images.shape[axis]
        padded = np.pad(images, [(2, 2) if a == axis else (0, 0) for a in range(3)], mode="symmetric")
        images = sum(w * padded.take(range(k, k + size), axis) for k, w in enumerate((1, 4, 6, 4, 1)))  # type: ignore[assignment]
    return images


def _near(vectors: "NDArray[np.int16]", distance: float) -> Iterator[tuple[int, int, float]]:
    """Pairs (first, second, distance) of vectors that are no further apart; the table is computed block by block."""
    import numpy as np

    squares = (vectors.astype(np.int64) ** 2).sum(axis=1)
    lengths = np.sqrt(squares.astype(np.float64))
    lengths[squares == 0] = np.inf  # a blank image is like none
    for start in range(0, len(vectors), _BLOCK):
        rows = vectors[start : start + _BLOCK].astype(np.float32)
        for column in range(start, len(vectors), _BLOCK):
            products = rows @ vectors[column : column + _BLOCK].astype(np.float32).T
            likeness = products / lengths[start : start + _BLOCK, None] / lengths[None, column : column + _BLOCK]
            if column == start:
                likeness[np.tril_indices(len(rows))] = -1  # each pair once, and none with itself
            yield from _closest(1 - likeness, distance, start, column)


def _closest(
    apart: "NDArray[np.float64]", distance: float, start: int, column: int
) -> Iterator[tuple[int, int, float]]:
    import numpy as np

    near = apart <= distance
    for row in np.flatnonzero(near.any(axis=1)):
        others = np.flatnonzero(near[row])
        if len(others) > _MOST:
            others = others[np.argsort(apart[row, others], kind="stable")[:_MOST]]
        for other in others:
            yield int(start + row), int(column + other), max(0.0, float(apart[row, other]))
