"""Finds copies among images: the same pixels, or nearly the same after resizing, compressing or brightening."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from medimg.data.descriptors import apart, connecting, descriptors, near
from medimg.data.manifest import Manifest
from medimg.data.signatures import Signatures, signatures

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Measured on 345 X-rays: resized, recompressed or brightened copies stay below 0.1, other films above 0.28; ...
COPY_DISTANCE = 0.2
_SURE_DISTANCE = 0.3  # ... and in full detail below 0.18 and above 0.56.
# Measured on 1,097 CT slices of 110 cases: 145 groups, one with slices of two classes; from 0.5 on, they chain.
GROUP_DISTANCE = 0.42
_AT_ONCE = 64  # pairs compared in full detail at once


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

    Near duplicates are alike as thumbnails of 32 pixels without their coarse structure, and then in full detail too,
    since two chests can share the first by chance where there are millions of pairs. Resized, recompressed, brighter
    or darker copies are found; cropped, turned or mirrored ones are not.

    Images that cannot be read are left out. Of images with the same pixels each is paired with the first of them, and
    only that first one is compared with the others for near duplicates. Of all near pairs as few are kept as connect
    what they connect. So every copy stands in some pair, every cluster is connected, there are fewer pairs than images,
    and a thousand blank ones do not make half a million.

    Args:
        manifest: the images.
        workers: threads that decode; 0: one for each core.
        cache: the cache folder, where signatures of the images are kept; None: they are made anew.
    """
    found = signatures(manifest, workers=workers, cache=cache)
    exact, alone = _same_pixels(found)
    thumbnails = found.thumbnails[alone]
    return _pairs(found, alone, exact, _sure(thumbnails, near(descriptors(thumbnails), COPY_DISTANCE)))


def find_neighbours(
    manifest: Manifest, distance: float = GROUP_DISTANCE, *, workers: int = 0, cache: Path | None = None
) -> list[Pair]:
    """Exact duplicates, and images as alike as neighbouring slices of one scan, sorted by position.

    Edges count by where they are, hardly by how strong they are. Of all such pairs as few as connect what they connect:
    their clusters are those of all pairs. Otherwise as `find_copies`.

    Args:
        manifest: the images.
        distance: the largest distance of two neighbours, 0 to 1; the more, the more neighbours, and the more strangers.
        workers: as there.
        cache: as there.
    """
    found = signatures(manifest, workers=workers, cache=cache)
    exact, alone = _same_pixels(found)
    neighbours = connecting(descriptors(found.thumbnails[alone], limit=0.5), distance)
    return _pairs(found, alone, exact, neighbours)


def clusters(count: int, pairs: Sequence[Pair]) -> list[list[int]]:
    """The connected components of `count` images, each ascending, sorted by their first image; single ones included."""
    forest = _Forest(count)
    for pair in pairs:
        forest.join(pair.first, pair.second)
    members: dict[int, list[int]] = {}
    for position in range(count):
        members.setdefault(forest.root(position), []).append(position)
    return list(members.values())


class _Forest:
    """Which of `count` images are connected so far; a cluster is named by its first image."""

    def __init__(self, count: int) -> None:
        self._parent = list(range(count))

    def root(self, position: int) -> int:
        parent = self._parent
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    def join(self, one: int, other: int) -> bool:
        """Connects two images; whether they were not before."""
        first, second = sorted((self.root(one), self.root(other)))
        self._parent[second] = first
        return first != second


def _sure(
    thumbnails: "NDArray[np.uint8]", candidates: Iterator[tuple[int, int, float]]
) -> Iterator[tuple[int, int, float]]:
    """Of pairs that look alike, those that do so in full detail and connect what no pair before them did."""
    forest = _Forest(len(thumbnails))
    new = (pair for pair in candidates if forest.root(pair[0]) != forest.root(pair[1]))
    while some := list(islice(new, _AT_ONCE)):
        for pair, far in zip(some, apart(thumbnails, some), strict=True):
            if far <= _SURE_DISTANCE and forest.join(pair[0], pair[1]):
                yield pair


def _same_pixels(found: Signatures) -> tuple[list[tuple[int, int, float]], "NDArray[np.int64]"]:
    """Pairs of images with the same pixels, each with the first of them; and one image for each content."""
    import numpy as np

    first: dict[bytes, int] = {}
    firsts = [first.setdefault(digest.tobytes(), index) for index, digest in enumerate(found.digests)]
    pairs = [(one, index, 0.0) for index, one in enumerate(firsts) if one != index]
    return pairs, np.array(sorted(first.values()), np.int64)


def _pairs(
    found: Signatures,
    alone: "NDArray[np.int64]",
    exact: Iterable[tuple[int, int, float]],
    alike: Iterable[tuple[int, int, float]],
) -> list[Pair]:
    at = found.positions.tolist()
    pairs = [Pair(at[one], at[other], True, 0.0) for one, other, _ in exact]
    pairs += [Pair(at[alone[one]], at[alone[other]], False, far) for one, other, far in alike]
    return sorted(pairs, key=lambda pair: (pair.first, pair.second))
