"""AUROC and average precision, of one split or of thousands of resamples at once."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from medimg.evaluation.counts import Floats, ratio

_TINY = 1e-300


def ranks(logits: NDArray[np.floating[Any]]) -> Floats:
    """For each class the images' places by its log-odds, as [N, K] in 0..1; equal ones share a place.

    Where a model is sure, probabilities round to 1 and lose their order, which is all that a ranking looks at.
    """
    wide = logits.astype(np.float64)
    places = np.empty_like(wide)
    for number in range(wide.shape[1]):
        others = np.delete(wide, number, axis=1)
        odds = wide[:, number] - np.logaddexp.reduce(others, axis=1)
        # Sums in another order differ in their last digits, and would break what is a tie.
        _, place = np.unique(odds.round(10), return_inverse=True)
        places[:, number] = place / max(1, place.max(initial=0))
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
        ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
        return cls(codes[order], member[order], ends)

    @property
    def both_sides(self) -> bool:
        """Whether there are images of the class and others."""
        return bool(0 < self.member.sum() < len(self.member))

    def evaluate(self, weights: Floats) -> tuple[Floats, Floats]:
        """AUROC and average precision, [R] each, where units count with weights [R, U]; NaN where not defined.

        Equal scores count half in the AUROC, and as one threshold in the average precision, as in scikit-learn.
        """
        if not len(self.unit):
            return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
        each = weights.take(self.unit, axis=1)
        own = each * self.member
        every, true = np.cumsum(each, axis=1), np.cumsum(own, axis=1)
        if len(self.ends) < len(self.unit):
            every, true = every[:, self.ends], true[:, self.ends]
            each, own = (np.diff(side, axis=1, prepend=0.0) for side in (every, true))
        others = each - own
        won = _sum_of_products(others, true) - _sum_of_products(others, own) / 2
        members = true[:, -1]
        both = members * (every[:, -1] - members)
        # Where all so far have weight 0, so have the true ones.
        average = ratio(_sum_of_products(own, true / np.maximum(every, _TINY)), members)
        return ratio(won, both), np.where(both > 0, average, np.nan)

    def influence(self, units: int) -> tuple[Floats, Floats]:
        """How AUROC and average precision change as a unit's weight grows from 1: the derivatives, [U] each.

        Needs both sides. For the AUROC these are the components of DeLong et al. 1988 (doi:10.2307/2531595), added up
        over each unit as in Obuchowski 1997 (doi:10.2307/2533958).
        """
        true, false = (np.cumsum(side)[self.ends] for side in (self.member, ~self.member))
        members, others = float(true[-1]), float(false[-1])
        new_true, new_false = np.diff(true, prepend=0), np.diff(false, prepend=0)
        ahead, behind = (true - new_true / 2) / members, 1 - (false - new_false / 2) / others
        auroc = (new_true * behind).sum() / members
        precision = true / (true + false)
        average = (new_true * precision).sum() / members
        step = new_true / members / (true + false) ** 2
        later_true, later_false = (np.cumsum((step * side)[::-1])[::-1] for side in (true, false))
        place = np.repeat(np.arange(len(self.ends)), np.diff(self.ends, prepend=-1))
        of_auroc = np.where(self.member, (behind[place] - auroc) / members, (ahead[place] - auroc) / others)
        own = (precision - average) / members + later_false
        of_average = np.where(self.member, own[place], -later_true[place])
        each = (np.bincount(self.unit, moved, units) for moved in (of_auroc, of_average))
        auroc_of_unit, average_of_unit = (moved.astype(np.float64) for moved in each)
        return auroc_of_unit, average_of_unit


def _sum_of_products(one: Floats, other: Floats) -> Floats:
    total: Floats = np.einsum("ij,ij->i", one, other)
    return total
