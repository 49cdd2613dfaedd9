"""What each unit contributes to every metric, so that units can be weighted: one split, or thousands of resamples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medimg.evaluation.counts import Counts, Floats, count_metrics, counts_of_units
from medimg.evaluation.ranking import Ranking, ranks

RANKING_METRICS = ("auroc", "average_precision")


@dataclass(frozen=True, eq=False)
class ByUnit:
    """The counts of each unit, [U, K] each, and a ranking of the images for each class.

    `averaged` holds the classes of which the whole `auroc` and `average_precision` are the mean.
    """

    counts: Counts
    rankings: tuple[Ranking, ...]
    classes: tuple[str, ...]
    averaged: tuple[int, ...]

    @classmethod
    def of(
        cls,
        logits: NDArray[np.floating[Any]],
        labels: NDArray[np.integer[Any]],
        codes: NDArray[np.integer[Any]],
        classes: Sequence[str],
        positive: str | None = None,
    ) -> Self:
        """From rows: finite logits [N, K], labels int [N], and the units' numbers `codes` int [N].

        Of two classes the positive one is averaged, by default the second; of more all that have both sides.
        """
        counts = counts_of_units(labels, logits.argmax(axis=1), codes, len(classes))
        rankings = tuple(Ranking.of(place, labels == number, codes) for number, place in enumerate(ranks(logits).T))
        asked = range(len(classes)) if len(classes) > 2 else [list(classes).index(positive or classes[-1])]
        averaged = tuple(number for number in asked if rankings[number].both_sides)
        return cls(counts, rankings, tuple(classes), averaged)

    @property
    def rows(self) -> int:
        """The number of images."""
        return len(self.rankings[0].unit)

    def metrics(self, weights: Floats) -> dict[str, Floats]:
        """Every metric where units count with weights [R, U]: [R] each, NaN where it is not defined."""
        found = count_metrics(self.counts.weighted(weights), self.classes)
        pairs = [ranking.evaluate(weights) for ranking in self.rankings]
        for metric, values in zip(RANKING_METRICS, zip(*pairs, strict=True), strict=True):
            found |= {f"{metric}/{name}": value for name, value in zip(self.classes, values, strict=True)}
            undefined = np.full(len(weights), np.nan)
            found[metric] = np.mean([values[number] for number in self.averaged] or [undefined], axis=0)
        return found
