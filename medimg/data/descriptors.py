"""Thumbnails as vectors that tell how alike two images are, and all close pairs without a table of them all."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from medimg.data.signatures import SIDE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FINE = SIDE  # pixels a side at full detail
COARSE = SIDE // 2  # the same of what is compared first
_NORM = 4000  # sums of products of integer vectors of this length stay below 2**24: exact as float32, in any order
_BLOCK = 2048  # images compared with as many others at once: 16 MB
_MOST = 100  # near pairs kept of one image in a block: with a hundred copies, who counts them


def descriptors(thumbnails: "NDArray[np.uint8]", side: int = COARSE, limit: float | None = None) -> "NDArray[np.int16]":
    """Integer vectors [n, side * side] whose scalar products tell how alike thumbnails [n, 64, 64] are.

    Each is the thumbnail of `side` pixels less its blurred self: without the coarse structure, which all chests share.
    Values beyond `limit` standard deviations are cut, so that a few strong edges do not decide. The length of a vector
    is 4000, or 0 for a blank image. Brightness and contrast do not change it. All is computed in integers, up to the
    scaling, so that it comes out the same on any machine.
    """
    import numpy as np

    result = np.zeros((len(thumbnails), side * side), np.int16)
    step = FINE // side
    for start in range(0, len(thumbnails), _BLOCK):
        block = thumbnails[start : start + _BLOCK].astype(np.int64)
        small = block.reshape(len(block), side, step, side, step).sum(axis=(2, 4))
        detail = (256 * small - _blurred(small)).reshape(len(block), -1)
        if limit is not None:
            bound = np.ceil(limit * np.sqrt((detail**2).mean(axis=1, keepdims=True))).astype(np.int64)
            detail = detail.clip(-bound, bound)
        detail = detail * detail.shape[1] - detail.sum(axis=1, keepdims=True)
        length = _lengths(detail)[:, None]
        result[start : start + _BLOCK] = np.rint(detail * (_NORM / length)).astype(np.int16)
    return result


def _blurred(images: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """256 times the images [n, h, w] after a binomial blur, a Gaussian of standard deviation 1 in integers."""
    import numpy as np

    for axis in (1, 2):
        size = images.shape[axis]
        padded = np.pad(images, [(2, 2) if a == axis else (0, 0) for a in range(3)], mode="symmetric")
        images = sum(w * padded.take(range(k, k + size), axis) for k, w in enumerate((1, 4, 6, 4, 1)))  # type: ignore[assignment]
    return images


def near(vectors: "NDArray[np.int16]", distance: float) -> Iterator[tuple[int, int, float]]:
    """Pairs (first, second, distance) of vectors that are no further apart; of one vector's in a block the closest."""
    for first, second, far in _blocks(vectors, distance):
        yield from _closest(first, second, far)


def connecting(vectors: "NDArray[np.int16]", distance: float) -> Iterator[tuple[int, int, float]]:
    """As few pairs as connect all vectors that chains of near ones connect: less than one a vector.

    Where a thousand images are alike there are half a million pairs; for clusters these are enough.
    """
    import numpy as np
    from scipy.sparse.csgraph import connected_components

    label = np.arange(len(vectors))
    for first, second, far in _blocks(vectors, distance):
        new = label[first] != label[second]
        pairs = (first[new], second[new], far[new])
        tree, chosen = _tree(*pairs, label)
        for at in chosen:
            yield int(pairs[0][at]), int(pairs[1][at]), float(pairs[2][at])
        label = connected_components(tree, directed=False)[1][label]


def _tree(
    first: "NDArray[np.int64]",
    second: "NDArray[np.int64]",
    far: "NDArray[np.float64]",
    label: "NDArray[np.int64]",
) -> tuple[Any, "NDArray[np.int64]"]:
    """The closest of these pairs that connect their clusters: as a sparse matrix of clusters, and which they are."""
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    one, other = label[first], label[second]
    order = np.lexsort((second, first, far))
    _, closest = np.unique((np.minimum(one, other) * len(label) + np.maximum(one, other))[order], return_index=True)
    chosen = order[np.sort(closest)]  # the closest of each two clusters, the closest of all first
    # weighed by rank, from 1: a sparse matrix has no place for 0, and the ranks say which pairs the tree took
    rank = np.arange(1.0, len(chosen) + 1)
    tree = minimum_spanning_tree(csr_array((rank, (one[chosen], other[chosen])), shape=(len(label), len(label))))
    return tree, chosen[np.sort(tree.data).astype(np.int64) - 1]


def _blocks(
    vectors: "NDArray[np.int16]", distance: float
) -> Iterator[tuple["NDArray[np.int64]", "NDArray[np.int64]", "NDArray[np.float64]"]]:
    """First, second and distance of all pairs that are no further apart; the table is computed block by block."""
    import numpy as np

    lengths = _lengths(vectors)
    for start in range(0, len(vectors), _BLOCK):
        rows = vectors[start : start + _BLOCK].astype(np.float32)
        for column in range(start, len(vectors), _BLOCK):
            products = rows @ vectors[column : column + _BLOCK].astype(np.float32).T
            # a first look in single precision, with a margin; then exactly, which matters at the threshold
            one, other = np.nonzero(products >= (1 - distance) * (_NORM - 40) ** 2)
            far = 1 - products[one, other] / (lengths[start + one] * lengths[column + other])
            one, other = start + one, column + other
            kept = (far <= distance) & (one < other)
            yield one[kept], other[kept], far[kept].clip(0)


def _closest(
    first: "NDArray[np.int64]", second: "NDArray[np.int64]", apart: "NDArray[np.float64]"
) -> Iterator[tuple[int, int, float]]:
    """Of one image's pairs the closest only."""
    import numpy as np

    order = np.lexsort((second, apart, first))
    first, second, apart = first[order], second[order], apart[order]
    rank = np.arange(len(first)) - np.searchsorted(first, first)
    for at in np.flatnonzero(rank < _MOST):
        yield int(first[at]), int(second[at]), float(apart[at])


def apart(thumbnails: "NDArray[np.uint8]", pairs: Sequence[tuple[int, int, float]]) -> list[float]:
    """The distance of each pair in full detail."""
    import numpy as np

    result: list[float] = []
    for start in range(0, len(pairs), _BLOCK):
        block = np.array([pair[:2] for pair in pairs[start : start + _BLOCK]], np.int64)
        one, other = (descriptors(thumbnails[block[:, k]], FINE, limit=2).astype(np.int64) for k in (0, 1))
        result += (1 - (one * other).sum(axis=1) / (_lengths(one) * _lengths(other))).tolist()
    return result


def _lengths(vectors: "NDArray[np.integer]") -> "NDArray[np.float64]":
    """Infinite for a blank image, which is like none."""
    import numpy as np

    squares = np.square(vectors, dtype=np.float64).sum(axis=1)
    return np.where(squares > 0, np.sqrt(squares), np.inf)
