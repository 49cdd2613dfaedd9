"""What each unit contributes to every metric, so that units can be weighted: one split, or thousands of resamples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medimg.evaluation.counts import Counts, Floats, count_metrics, counts_of_units
from medimg.evaluation.ranking import Ranking, ranks

_RANKING = {"auroc": Ranking.auroc, "average_precision": Ranking.average_precision}
RANKING_METRICS = tuple(_RANKING)


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
        return cls.of_scores(ranks(logits), logits.argmax(axis=1), labels, codes, classes, positive)

    @classmethod
    def of_scores(
        cls,
        scores: Floats,
        predicted: NDArray[np.integer[Any]],
        labels: NDArray[np.integer[Any]],
        codes: NDArray[np.integer[Any]],
        classes: Sequence[str],
        positive: str | None = None,
    ) -> Self:
        """From rows of one model or several: scores [N, K], whose columns are ranked, and predicted classes [N]."""
        counts = counts_of_units(labels, predicted, codes, len(classes))
        rankings = tuple(Ranking.of(column, labels == number, codes) for number, column in enumerate(scores.T))
        asked = range(len(classes)) if len(classes) > 2 else [list(classes).index(positive or classes[-1])]
        averaged = tuple(number for number in asked if rankings[number].both_sides)
        return cls(counts, rankings, tuple(classes), averaged)

    @property
    def rows(self) -> int:
        """The number of images."""
        return len(self.rankings[0].unit)

    def metric(self, name: str, weights: Floats) -> Floats:
        """One metric where units count with weights [R, U]: [R], NaN where it is not defined."""
        kind, _, of_class = name.partition("/")
        if kind not in _RANKING:
            return count_metrics(self.counts.weighted(weights), self.classes)[name]
        asked = [self.classes.index(of_class)] if of_class else self.averaged
        return _mean([_RANKING[kind](self.rankings[number], weights) for number in asked], len(weights))

    def metrics(self, weights: Floats) -> dict[str, Floats]:
        """Every metric, as by `metric`."""
        found = count_metrics(self.counts.weighted(weights), self.classes)
        for kind, evaluate in _RANKING.items():
            values = [evaluate(ranking, weights) for ranking in self.rankings]
            found |= {f"{kind}/{name}": value for name, value in zip(self.classes, values, strict=True)}
            found[kind] = _mean([values[number] for number in self.averaged], len(weights))
        return found


def _mean(values: Sequence[Floats], resamples: int) -> Floats:
    mean: Floats = np.mean(values or [np.full(resamples, np.nan)], axis=0)
    return mean
