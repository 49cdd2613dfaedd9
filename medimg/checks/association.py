"""How strongly the class goes with a column: Cramér's V, against a permutation of whole patients' labels."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

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

    def __init__(self, groups: "ArrayLike", labels: "ArrayLike") -> None:
        import numpy as np

        _, self.group_of_image = np.unique(np.asarray(groups), return_inverse=True)
        self.classes = int(np.max(labels)) + 1
        found, self.of_image = np.unique(self.group_of_image * self.classes + np.asarray(labels), return_inverse=True)
        self.label = found % self.classes

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

    counts = Counter(values)
    missing = {value for value in counts if not value or value.strip().casefold() in _MISSING}
    given = Counter({value: count for value, count in counts.items() if value not in missing})
    numbers = {value: _number(value) for value in given}
    numeric = all(number is not None for number in numbers.values())
    codes = len(given) <= min(_MOST_CODES, given.total() / _IMAGES_A_CODE)
    if numeric and not codes and len(given) > _BINS:
        level = _quantiles(given, numbers)
    else:
        most = _MOST_CODES if numeric else _MOST_LEVELS
        level = {value: min(rank, most) for rank, (value, _) in enumerate(given.most_common())}
    missing_level = max(level.values(), default=-1) + 1
    return np.array([level.get(value, missing_level) for value in values], np.int64)


def _quantiles(given: Counter[str | None], numbers: Mapping[str | None, float | None]) -> dict[str | None, int]:
    """The bin of each value, the bins having as equal numbers of images as can be."""
    import numpy as np

    known = np.array([numbers[value] for value in given], float)
    edges = np.unique(np.quantile(np.repeat(known, list(given.values())), np.linspace(0, 1, _BINS + 1)[1:-1]))
    return dict(zip(given, np.searchsorted(edges, known, side="left").tolist(), strict=True))


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
    """Cramér's V of the class and a column's levels, with its permutation p.

    Units whose images have the same levels can be exchanged without effect. So a permutation is a random table of
    class by such kind of unit with the margins kept (Patefield 1981, by scipy), and its cost hardly depends on how
    many images there are.
    """
    import numpy as np
    from scipy.stats import random_table

    kinds, kind = _kinds(column, units)
    table = np.bincount(units.label * len(kinds) + kind, minlength=units.classes * len(kinds))
    table = table.reshape(units.classes, len(kinds))
    table = table[table.any(axis=1)]
    if min(table.shape) < 2:
        return Strength(0.0, 1.0)
    drawn = random_table(table.sum(axis=1), table.sum(axis=0), seed=np.random.default_rng(seed))
    at_once = max(1, _AT_ONCE // table.size)
    sizes = [min(at_once, permutations - done) for done in range(0, permutations, at_once)]
    found = [cramers_v(table[None] @ kinds), *(cramers_v(drawn.rvs(size) @ kinds) for size in sizes)]
    return strength(np.concatenate(found))


def _kinds(column: "NDArray[np.int64]", units: Units) -> tuple["NDArray[np.float64]", "NDArray[np.int64]"]:
    """How many images of each level a kind of unit has [kinds, levels], and the kind of each unit."""
    import numpy as np

    _, level = np.unique(column, return_inverse=True)
    size = int(level.max()) + 1
    counts = np.bincount(units.of_image * size + level, minlength=len(units.label) * size)
    rows = counts.astype(np.int32).view(f"V{4 * size}")  # np.unique of rows takes twenty times longer
    _, first, kind = np.unique(rows, return_index=True, return_inverse=True)
    return counts.reshape(-1, size)[first].astype(float), kind


def strength(values: "NDArray[np.float64]") -> Strength:
    """The first value, and how many of all are at least as large: the permutation p of Phipson and Smyth (2010)."""
    at_least = int((values >= values[0] - 1e-12).sum())
    return Strength(float(values[0]), at_least / len(values))
