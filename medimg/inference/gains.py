"""What averaging has gained: the ensemble against its members, on the same images."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from medimg.evaluation.comparison import Comparison, compare
from medimg.evaluation.metrics import classification_metrics
from medimg.evaluation.predictions import Predictions
from medimg.files import write_json
from medimg.inference.compare import METRICS
from medimg.inference.ensemble import Scored
from medimg.inference.held_out import Members
from medimg.inference.members import MemberRun


@dataclass(frozen=True)
class Gains:
    """The members' scores, and how the ensemble's differ.

    Attributes:
        scores: of each member on the images that it was asked about, by its folder.
        mean: the means of the members' scores, where all were asked about the same images; otherwise empty.
        best: the member with the best validation score; None where the members were chosen by different metrics.
        comparisons: the ensemble minus the best member; empty where they were asked about different images.
    """

    scores: Mapping[Path, Mapping[str, float]]
    mean: Mapping[str, float]
    best: MemberRun | None
    comparisons: tuple[Comparison, ...]


def gains(scored: Scored, *, resamples: int = 2000) -> Gains:
    """Compares, and writes `comparisons/members-<split>.json` beside the scores.

    The best member is the best on validation: the best on these images would be so by luck in part.

    Args:
        scored: an ensemble.
        resamples: for the interval and the p-value of each difference.
    """
    positive = scored.sample.positive
    scores = {path: _scores(table, positive) for path, table in scored.tables.items()}
    best = best_member(scored.members)
    ensemble = scored.sample.predictions
    mean: dict[str, float] = {}
    comparisons: tuple[Comparison, ...] = ()
    if all(set(table.paths) == set(ensemble.paths) for table in scored.tables.values()):
        mean = {name: statistics.fmean(each[name] for each in scores.values()) for name in METRICS}
        if best is not None:
            theirs, units = scored.tables[best.folder.path], scored.sample.units
            comparisons = tuple(
                compare(ensemble, theirs, units, name, positive=positive, resamples=resamples) for name in METRICS
            )
    found = Gains(scores, mean, best, comparisons)
    _write(scored, found)
    return found


def best_member(members: Members) -> MemberRun | None:
    """By the monitored metric, ties by validation loss; None where members have none, or several."""
    first = members[0].run
    alike = all((member.run.metric, member.run.mode) == (first.metric, first.mode) for member in members)
    if not alike or any(member.value is None for member in members):
        return None
    sign = 1 if first.mode == "max" else -1

    def goodness(member: MemberRun) -> tuple[float, float]:
        loss = math.inf if member.run.loss is None else member.run.loss
        return sign * (member.value or 0.0), -loss

    return max(members, key=goodness)


def _scores(table: Predictions, positive: str | None) -> dict[str, float]:
    found = classification_metrics(table.logits, table.labels, table.classes, positive)
    return {name: found[name] for name in METRICS}


def _write(scored: Scored, found: Gains) -> None:
    content = {
        "split": scored.split,
        "members": [{"run": str(path), **scores} for path, scores in found.scores.items()],
        "mean": found.mean,
        "best": None if found.best is None else str(found.best.folder.path),
        "comparisons": [asdict(one) for one in found.comparisons],
    }
    write_json(scored.place.path / "comparisons" / f"members-{scored.split}.json", content)
