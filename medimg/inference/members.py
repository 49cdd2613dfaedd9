"""The runs that an ensemble is made of: named one by one, or the best of a sweep; refused where they have no mean."""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from medimg.data.manifest import Manifest, Split, read_manifest_csv
from medimg.errors import RequestError
from medimg.files import sha256
from medimg.runs import RunFolder, find_run
from medimg.runs.checkpoints import told_unfinished
from medimg.runs.leaderboard import leaderboard
from medimg.runs.records import Run, find_runs, read_run

log = logging.getLogger(__name__)

_ENDED = ("completed", "pruned", "partial", "interrupted")  # with a best epoch that will stay as it is
_MOST = 5  # of a sweep, unless told


@dataclass(frozen=True)
class MemberRun:
    """A run as a member of an ensemble.

    Attributes:
        run: its record.
        manifest: its images, their split and its classes, as it wrote them down.
    """

    run: Run
    manifest: Manifest

    @property
    def folder(self) -> RunFolder:
        """The run's own, which an ensemble never writes to."""
        return self.run.folder

    @property
    def images(self) -> str | None:
        """Equal for runs of the same images, however these are split."""
        return self.run.images or self.run.data

    @property
    def value(self) -> float | None:
        """The monitored metric of the best epoch; of an interrupted run, of the best so far."""
        return self.run.so_far if self.run.value is None else self.run.value

    @property
    def fold(self) -> int | None:
        """The number of its fold, where it is one of a cross-validation."""
        fold: int | None = self.run.config.get("data.fold")
        return fold

    @cached_property
    def checkpoint_digest(self) -> str:
        """SHA-256 of the best checkpoint: a run that was trained on is another member."""
        return sha256(self.folder.best)

    def paths(self, split: Split) -> frozenset[str]:
        """The images of a split."""
        return frozenset(record.path for record in self.manifest.of(split))


def members_of(folders: Sequence[RunFolder]) -> tuple[MemberRun, ...]:
    """The members, sorted by their paths, so that the same runs give the same ensemble in any order.

    Raises:
        RequestError: they are fewer than two, one stands there twice or cannot be used, or they do not know the same
            classes.
    """
    paths = [folder.path.resolve() for folder in folders]
    twice = [path for path in dict.fromkeys(paths) if paths.count(path) > 1]
    if twice:
        raise RequestError(f"{RunFolder(twice[0]).shown} stands there twice: a member counts once")
    if len(paths) < 2:
        raise RequestError(f"an ensemble has at least two members; here are {len(paths)}\n  runs=[RUN,RUN,...]")
    members = tuple(_member(RunFolder(path)) for path in sorted(paths))
    for member in members[1:]:
        _refuse_other_classes(members[0], member)
    return members


def best_of_sweep(sweep: Path, top: int | None = None) -> tuple[list[RunFolder], str]:
    """The best runs of a study by their monitored validation metric; ties go to the lower validation loss.

    Folds have validation splits of their own, whose scores do not compare: of a cross-validation these are the best of
    each fold.

    Args:
        sweep: a folder with runs at any depth.
        top: how many; None: 5, or all where there are fewer.

    Returns:
        Their folders, and how they were found, in words.

    Raises:
        RequestError: there are none, or not so many.
    """
    if not sweep.is_dir():
        raise RequestError(f"sweep={sweep}: there is no such folder\n  looked in {Path.cwd()}")
    sections = leaderboard(find_runs([sweep])).sections
    if not sections:
        raise RequestError(f"sweep={sweep}: no run below it is finished and has a score")
    ranked: dict[int | None, list[Run]] = defaultdict(list)
    for run in sorted(sections[0].runs, key=_rank):
        ranked[run.config.get("data.fold")].append(run)
    fewest = min(len(runs) for runs in ranked.values())
    of_each = " of each fold" if len(ranked) > 1 else ""
    if top is not None and top > fewest:
        raise RequestError(f"top={top}: {sweep} has {fewest} ranked runs{of_each}\n  top={fewest} takes all")
    chosen = [run for runs in ranked.values() for run in runs[: top or min(fewest, _MOST)]]
    others = sum(len(section.runs) for section in sections[1:])
    apart = f"; left out: {others} of other images, another split or another metric" if others else ""
    number = f"{len(chosen) // len(ranked)}{of_each} of {len(sections[0].runs)}"
    return [run.folder for run in chosen], f"the best {number} runs of {sweep} by {sections[0].first.metric}{apart}"


def named_runs(names: Sequence[str], runs: Path) -> list[RunFolder]:
    """The folders that a user means by these paths, or by `latest`.

    Raises:
        RequestError: there is no such run.
    """
    return [find_run(name, runs) for name in names]


def _rank(run: Run) -> tuple[float, float, str]:
    """Best first; the last number only makes the order of equals the same on every machine."""
    value = float("-inf") if run.value is None else run.value if run.mode == "max" else -run.value
    return -value, float("inf") if run.loss is None else run.loss, str(run.folder.path)


def _member(folder: RunFolder) -> MemberRun:
    run = read_run(folder)
    if run.status not in _ENDED:
        reason = run.problem or "its best epoch may still be another one, or there is none"
        raise RequestError(f"{folder.shown} is {run.status}, and no member of an ensemble: {reason}")
    if not folder.best.is_file():
        raise RequestError(f"{folder.shown} has no checkpoints/{folder.best.name}, and no model without it")
    if told := told_unfinished(folder):
        log.warning("%s", told)
    info = folder.info()
    manifest = replace(
        read_manifest_csv(folder.manifest_file),
        classes=tuple(info["classes"]),
        positive_class=info.get("positive_class"),
        split_unit=info["split_unit"],
        synthetic=bool(info.get("synthetic")),
    )
    return MemberRun(run, manifest)


def _refuse_other_classes(one: MemberRun, other: MemberRun) -> None:
    for what, mine, theirs in (
        ("classes", list(one.manifest.classes), list(other.manifest.classes)),
        ("positive classes", one.manifest.positive_class, other.manifest.positive_class),
    ):
        if mine != theirs:
            raise RequestError(
                f"{one.folder.shown} and {other.folder.shown} have no mean: their {what} are {mine} and {theirs}"
            )
