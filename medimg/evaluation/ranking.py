"""AUROC and average precision, of one split or of thousands of resamples at once."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medimg.evaluation.counts import Floats, ratio

_TINY = 1e-300


def ranks(logits: NDArray[np.floating[Any]]) -> Floats:
    """For each class the images' mean ranks by its log-odds, as shares of all images: [N, K] in 0..1.

    Where a model is sure, probabilities round to 1 and lose their order, which is all that a ranking looks at. Ranks of
    two models on the same images are on one scale, with a mean of 0.5, however sure each of them is.
    """
    wide = logits.astype(np.float64)
    places = np.empty_like(wide)
    for number in range(wide.shape[1]):
        others = np.delete(wide, number, axis=1)
        odds = wide[:, number] - np.logaddexp.reduce(others, axis=1)
        # Sums in another order differ in their last digits, and would break what is a tie.
        _, place, alike = np.unique(odds.round(10), return_inverse=True, return_counts=True)
        places[:, number] = ((np.cumsum(alike) - alike / 2) / len(wide))[place]
    return places


@dataclass(frozen=True, eq=False)
class Ranking:
    """The images in falling order of a score: which unit each belongs to, and whether it is of the class.

    `unit` int [N] and `member` bool [N] are in that order; `ends` are the positions where a run of equal scores ends.
    """

    unit: NDArray[np.integer[Any]]
    member: NDArray[np.bool_]
    ends: NDArray[np.intp]

    @classmethod
    def of(cls, scores: Floats, member: NDArray[np.bool_], codes: NDArray[np.integer[Any]]) -> Self:
        """From scores, membership and units [N] in any order."""
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        last = np.append(falling[1:] != falling[:-1], True)[: len(falling)]
        return cls(codes[order], member[order], np.flatnonzero(last))

    @property
    def both_sides(self) -> bool:
        """Whether there are images of the class and others."""
        return bool(0 < self.member.sum() < len(self.member))

    def auroc(self, weights: Floats) -> Floats:
        """The AUROC [R] where units count with weights [R, U]; equal scores count half. NaN where not defined."""
        true, run = _running(weights, self._members), self._run[~self.member]
        through = self._through[0]
        others = weights.take(self._others, axis=1)
        ahead = true.take(through[run - 1], axis=1) + true.take(through[run], axis=1)
        return ratio(_sum_of_products(others, ahead) / 2, true[:, -1] * others.sum(axis=1))

    def average_precision(self, weights: Floats) -> Floats:
        """The average precision [R]; equal scores are one threshold, as in scikit-learn. NaN where not defined."""
        true, false = _running(weights, self._members), _running(weights, self._others)
        run = self._run[self.member]
        above, below = (
            side.take(through[run], axis=1) for side, through in zip((true, false), self._through, strict=True)
        )
        # Where all so far have weight 0, so have the true ones.
        precision = above / np.maximum(above + below, _TINY)
        average = ratio(_sum_of_products(weights.take(self._members, axis=1), precision), true[:, -1])
        return np.where(false[:, -1] > 0, average, np.nan)

    def influence(self, units: int) -> tuple[Floats, Floats]:
        """How AUROC and average precision change as a unit's weight grows from 1: the derivatives, [U] each.

        Needs both sides. For the AUROC these are the components of DeLong et al. 1988 (doi:10.2307/2531595), added up
        over each unit as in Obuchowski 1997 (doi:10.2307/2533958).
        """
        true, false = (through[1:] for through in self._through)
        members, others = float(true[-1]), float(false[-1])
        new_true, new_false = np.diff(true, prepend=0), np.diff(false, prepend=0)
        ahead, behind = (true - new_true / 2) / members, 1 - (false - new_false / 2) / others
        auroc = (new_true * behind).sum() / members
        precision = true / (true + false)
        average = (new_true * precision).sum() / members
        step = new_true / members / (true + false) ** 2
        later_true, later_false = (np.cumsum((step * side)[::-1])[::-1] for side in (true, false))
        place = self._run - 1
        of_auroc = np.where(self.member, (behind[place] - auroc) / members, (ahead[place] - auroc) / others)
        own = (precision - average) / members + later_false
        of_average = np.where(self.member, own[place], -later_true[place])
        each = (np.bincount(self.unit, moved, units) for moved in (of_auroc, of_average))
        auroc_of_unit, average_of_unit = (moved.astype(np.float64) for moved in each)
        return auroc_of_unit, average_of_unit

    @cached_property
    def _members(self) -> NDArray[np.integer[Any]]:
        return self.unit[self.member]

    @cached_property
    def _others(self) -> NDArray[np.integer[Any]]:
        return self.unit[~self.member]

    @cached_property
    def _run(self) -> NDArray[np.intp]:
        """In which run of equal scores each image is, from 1."""
        return np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=-1)) + 1

    @cached_property
    def _through(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """How many members, and others, there are up to the end of each run; behind a 0, for before the first."""
        true, false = (np.append(0, np.cumsum(side)[self.ends]) for side in (self.member, ~self.member))
        return true, false


def _running(weights: Floats, units: NDArray[np.integer[Any]]) -> Floats:
    """The sums of the weights of the first 0, 1, 2, ... of these units: [R, 1 + their number]."""
    sums = np.zeros((len(weights), len(units) + 1))
    np.cumsum(weights.take(units, axis=1), axis=1, out=sums[:, 1:])
    return sums


def _sum_of_products(one: Floats, other: Floats) -> Floats:
    total: Floats = np.einsum("ij,ij->i", one, other)
    return total
