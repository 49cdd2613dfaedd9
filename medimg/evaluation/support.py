"""How many units a metric rests on, and what has to be said of its interval because of that."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medimg.evaluation.units import Kind, Units

FLOOR = 100
"""The units that a metric of one class should rest on; docs/coverage.md shows what intervals of fewer are worth."""
AVERAGES = ("f1_macro", "precision_macro", "recall_macro", "balanced_accuracy", "auroc", "average_precision")


@dataclass(frozen=True)
class Support:
    """The units that a metric rests on, and how many it should have; as text `40 patients with covid`."""

    number: int
    kind: Kind
    which: str = ""
    floor: int = FLOOR

    def __str__(self) -> str:
        kind = self.kind if self.number == 1 else f"{self.kind}s"
        return f"{self.number} {kind} {self.which}".rstrip()


def supports(
    units: Units, labels: NDArray[np.integer[Any]], predicted: NDArray[np.integer[Any]], classes: Sequence[str]
) -> dict[str, Support]:
    """What each metric of `all_metrics` rests on.

    Accuracy rests on all units, and should have `FLOOR` of them for each class that is there; sensitivity and F1 of a
    class on its own, specificity on the others, precision on those that are predicted to be of it, a ranking on the
    smaller side; whole metrics on the smallest class that is there.
    """

    def count(rows: NDArray[np.bool_], which: str) -> Support:
        return Support(len(np.unique(units.codes[rows])), units.kind, which)

    found: dict[str, Support] = {}
    present: list[Support] = []
    for number, name in enumerate(classes):
        own, other = count(labels == number, f"with {name}"), count(labels != number, f"without {name}")
        found |= {f"sensitivity/{name}": own, f"f1/{name}": own, f"specificity/{name}": other}
        found[f"precision/{name}"] = count(predicted == number, f"predicted as {name}")
        smaller = min(own, other, key=lambda each: each.number)
        found |= {f"auroc/{name}": smaller, f"average_precision/{name}": smaller}
        present += [own] if own.number else []
    found["accuracy"] = Support(units.number, units.kind, floor=FLOOR * len(present))
    smallest = min(present, key=lambda each: each.number)
    return found | dict.fromkeys((*AVERAGES, "mcc"), smallest)


def absent(labels: NDArray[np.integer[Any]], classes: Sequence[str]) -> list[str]:
    """The classes without an image."""
    return [name for number, name in enumerate(classes) if not (labels == number).any()]
