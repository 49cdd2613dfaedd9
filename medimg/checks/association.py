"""How strongly the class goes with a column: Cramér's V, against a permutation of whole patients' labels."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_LEVELS = 20  # of a text column; rarer values are one level together
_BINS = 5  # of a numeric column, by quantiles
_MOST_CODES, _IMAGES_A_CODE = 50, 5  # fewer numbers than this, each of so many images on average, may be codes
_MISSING = frozenset({"na", "n/a", "nan", "none", "null", "unknown", "?", "-"})
_AT_ONCE = 2**22  # numbers in memory at a time


class Strength(NamedTuple):
    """How strong an association is: 0 to 1, and the share of permutations that are at least as strong."""

    value: float
    p: float


class Units:
    """What is permuted together: all images of one patient with one label.

    Images of a patient with several labels make a unit for each label. Folds keep whole groups together.
    """

    def __init__(self, groups: Sequence[int], labels: Sequence[int]) -> None:
        import numpy as np

        pairs = np.stack([np.asarray(groups), np.asarray(labels)], axis=1)
        kinds, self.of_image = np.unique(pairs, axis=0, return_inverse=True)
        self.of_image = self.of_image.reshape(-1)
        self.label = kinds[:, 1]
        self.group_of_image = pairs[:, 0]
        self.classes = int(self.label.max()) + 1

    def permuted(self, count: int, seed: int) -> "NDArray[np.int64]":
        """The labels of the units, [1 + count, units]: as they are first, then permuted."""
        import numpy as np

        generator = np.random.default_rng(seed)
        return np.stack([self.label, *(generator.permutation(self.label) for _ in range(count))])


def levels(values: Sequence[str | None]) -> "NDArray[np.int64]":
    """A column's values as numbered levels: numbers by quantiles where there are many, rare texts as one level.

    Few numbers, each of several images, may be codes, as of a hospital, and are taken as they are. Missing values are a
    level of their own: that a value is missing can tell the class as well.
    """
    import numpy as np

    values = [None if value is not None and value.strip().casefold() in _MISSING else value for value in values]
    numbers = [_number(value) for value in values]
    given = [value for value in values if value]
    numeric = all(number is not None for number, value in zip(numbers, values, strict=True) if value)
    codes = len(set(given)) <= min(_MOST_CODES, len(given) / _IMAGES_A_CODE)
    if numeric and not codes and len(set(given)) > _BINS:
        known = np.array([np.nan if number is None else number for number in numbers], float)
        edges = np.unique(np.nanquantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
        return np.where(np.isnan(known), len(edges) + 1, np.searchsorted(edges, known, side="left"))
    most = _MOST_CODES if numeric else _MOST_LEVELS
    frequent = {value: index for index, (value, _) in enumerate(Counter(given).most_common(most))}
    return np.array([frequent.get(value, most) if value else most + 1 for value in values], np.int64)


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def cramers_v(tables: "NDArray[np.float64]") -> "NDArray[np.float64]":
    """Cramér's V with the bias correction of Bergsma (2013), of tables of counts [..., rows, columns]; 0 to 1.

    Rows and columns without any count do not matter. 0 where there are fewer than two rows or columns.
    """
    import numpy as np

    total = tables.sum((-2, -1), keepdims=True)
    rows, columns = tables.sum(-1, keepdims=True), tables.sum(-2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = rows * columns / total
        chi2 = np.where(expected > 0, (tables - expected) ** 2 / expected, 0).sum((-2, -1))
        n = total[..., 0, 0]
        r = (rows[..., 0] > 0).sum(-1)
        c = (columns[..., 0, :] > 0).sum(-1)
        phi2 = np.maximum(chi2 / n - (r - 1) * (c - 1) / (n - 1), 0)
        free = np.minimum(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
        strength = np.sqrt(np.where(free > 0, phi2 / free, 0))
    found: NDArray[np.float64] = np.minimum(np.nan_to_num(strength), 1.0)
    return found


def association(column: "NDArray[np.int64]", units: Units, permutations: int, seed: int = 0) -> Strength:
    """Cramér's V of the class and a column's levels, with its permutation p."""
    import numpy as np

    _, column = np.unique(column, return_inverse=True)
    counts = np.zeros((len(units.label), int(column.max()) + 1))
    np.add.at(counts, (units.of_image, column.reshape(-1)), 1)
    labels = units.permuted(permutations, seed)
    at_once = max(1, _AT_ONCE // (units.classes * labels.shape[1]))
    found = [
        cramers_v((part[:, None, :] == np.arange(units.classes)[:, None]).astype(float) @ counts)
        for part in np.array_split(labels, range(at_once, len(labels), at_once))
    ]
    return strength(np.concatenate(found))


def strength(values: "NDArray[np.float64]") -> Strength:
    """The first value, and how many of all are at least as large: the permutation p of Phipson and Smyth (2010)."""
    at_least = int((values >= values[0] - 1e-12).sum())
    return Strength(float(values[0]), at_least / len(values))
