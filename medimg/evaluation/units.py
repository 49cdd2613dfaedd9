"""What an evaluation counts as independent: patients, groups that stand in for them, or single images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["patient", "group", "image"]


@dataclass(frozen=True, eq=False)
class Units:
    """Which unit each image belongs to.

    `codes` is int64 [N], 0 .. `number` - 1 by first appearance. `kind` is `patient` where any patient is known, else
    `group` where any group is, else `image`.
    """

    codes: NDArray[np.int64]
    kind: Kind
    number: int


def units_of(patient_ids: Sequence[str | None], groups: Sequence[str | None] | None = None) -> Units:
    """The unit of each image: its patient; where that is unknown its group; where that is unknown too, itself."""
    if groups is None:
        groups = [None] * len(patient_ids)
    keys = [
        ("patient", patient) if patient else ("group", group) if group else ("image", str(row))
        for row, (patient, group) in enumerate(zip(patient_ids, groups, strict=True))
    ]
    numbers: dict[tuple[str, str], int] = {}
    codes = np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
    kinds = {kind for kind, _ in keys}
    kind: Kind = "patient" if "patient" in kinds else "group" if "group" in kinds else "image"
    return Units(codes, kind, len(numbers))


def strata_of(units: Units, labels: NDArray[np.integer[Any]], k: int) -> NDArray[np.int64]:
    """The class of each unit, int64 [U], by which resamples are stratified.

    A unit whose images are of several classes belongs to the one that most of them have; where several have equally
    many, to the one of them with the fewest images in all, and then to the first. So there are no more strata than
    classes, and a rare class keeps its units; but how many images of each class a resample has then varies a little.
    """
    images = np.bincount(units.codes * k + labels, minlength=units.number * k).reshape(units.number, k)
    _, rarity = np.unique(-images.sum(axis=0), return_inverse=True)
    # Rarity is a fraction below 1, so it decides nothing but ties; argmax gives the first of what is still equal.
    strata: NDArray[np.int64] = (images + rarity / (k + 1)).argmax(axis=1).astype(np.int64)
    return strata
