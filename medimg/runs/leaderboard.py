"""Ranks runs by validation: settings of several seeds and folds, each among those that were measured alike."""

import statistics
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from medimg.runs.columns import Column, Setting, differing, setting
from medimg.runs.folder import RunFolder
from medimg.runs.records import Run, read_run

REPEATED = "repeated"
WHOLE = "whole"  # `data.region` where a run is no control
_RANKED = ("completed", "pruned")
_TEST = "f1_macro"  # what is shown of the test split where the monitored metric is not measured there


@dataclass(frozen=True)
class Spread:
    """A number of several runs: their mean, and the sample standard deviation where there are two or more."""

    mean: float
    std: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> "Spread | None":
        """None where a run has no such number: the others would not be the same thing."""
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values):
            return None
        return cls(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))


@dataclass(frozen=True)
class Entry:
    """A setting: runs that differ in nothing but seed or fold.

    Attributes:
        runs: those that count, best first.
        status: of all runs of the setting, those that do not count included.
    """

    runs: tuple[Run, ...]
    status: str

    @cached_property
    def score(self) -> Spread:
        """The monitored metric."""
        found = Spread.of([run.value for run in self.runs])
        if found is None:
            raise ValueError("only runs with a value are ranked")
        return found

    @cached_property
    def loss(self) -> Spread | None:
        """`val/loss` of the same epochs."""
        return Spread.of([run.loss for run in self.runs])

    @cached_property
    def seconds(self) -> Spread | None:
        """Time of a run."""
        return Spread.of([run.seconds for run in self.runs])

    @cached_property
    def test_metric(self) -> str:
        """The monitored metric, or macro-F1 where that is not measured on test."""
        name = self.runs[0].metric.partition("/")[2]
        return name if any(name in run.test for run in self.runs) else _TEST

    @cached_property
    def test(self) -> Spread | None:
        """The test split, where all of the runs evaluated all of it."""
        return Spread.of([run.test.get(self.test_metric) for run in self.runs])


@dataclass(frozen=True)
class Section:
    """Settings that can be compared: the same images, split alike, and the same monitored metric. Best first."""

    entries: tuple[Entry, ...]

    @property
    def runs(self) -> list[Run]:
        """All that are ranked here."""
        return [run for entry in self.entries for run in entry.runs]

    def split_columns(self, columns: Sequence[Column]) -> tuple[list[Column], list[Column]]:
        """Those that differ between these settings, and those that all of them share."""
        cells = {column: {column.cell(entry.runs[0]) for entry in self.entries} for column in columns}
        return [one for one in columns if len(cells[one]) > 1], [one for one in columns if len(cells[one]) == 1]

    @property
    def title(self) -> str:
        """What was measured on."""
        run = self.first
        folds = run.config.get("data.folds")
        synthetic = " (synthetic images)" if run.synthetic else ""
        control = f", data.region={run.config.get('data.region')}" if len(self.regions) == 1 and self.controls else ""
        split = f"split by {run.split_unit or 'unknown unit'}{f', {folds} folds' if folds else ''}"
        return f"{run.config.get('data.name', 'data')}{synthetic}{control}, {split}"

    @property
    def regions(self) -> set[str]:
        """Which parts of the images these runs were shown."""
        return {str(run.config.get("data.region", WHOLE)) for run in self.runs}

    @property
    def controls(self) -> list[str]:
        """Those that are not the whole images: such runs say how much a model can tell without what matters."""
        return sorted(self.regions - {WHOLE})

    @property
    def ties(self) -> bool:
        """Whether settings have the same score, and stand in the order of their validation loss."""
        return len({_order(entry)[0] for entry in self.entries}) < len(self.entries)

    @property
    def by(self) -> str:
        """What it is ranked by."""
        return f"{self.first.metric}, {'higher' if self.first.mode == 'max' else 'lower'} is better"

    @property
    def first(self) -> Run:
        """One for what all have in common."""
        return self.entries[0].runs[0]


@dataclass(frozen=True)
class Board:
    """The whole: tables of what can be compared, and the runs that are not ranked.

    `instead` has, for the folder of each run that was repeated, the repetition that counts.
    """

    sections: tuple[Section, ...]
    unranked: tuple[Run, ...]
    columns: tuple[Column, ...]
    instead: Mapping[Path, Run] = field(default_factory=dict)

    def apart(self) -> list[str]:
        """What the sections differ in, in words: why they are not ranked together."""
        firsts = [section.first for section in self.sections]
        reasons = []
        images = {next((run.images for run in section.runs if run.images), None) for section in self.sections}
        divided = {_data(run) for run in firsts}
        if len(divided) > 1 and None in images:
            reasons.append("the images or how they are split")
        elif len(images) > 1:
            reasons.append("the images")
        if len(divided) > len(images) and None not in images:
            reasons.append("how the same images are split")
        for words, values in (
            ("split unit", [str(run.split_unit) for run in firsts]),
            ("monitored metric", [run.metric for run in firsts]),
        ):
            if len(set(values)) > 1:
                reasons.append(f"{words} ({', '.join(dict.fromkeys(values))})")
        return reasons


def leaderboard(folders: Sequence[RunFolder]) -> Board:
    """The runs of these folders, ranked.

    Of runs that repeat another's setting, seed and fold the one started last counts: a mean over repetitions would
    show a smaller spread than there is.
    """
    runs = [read_run(folder) for folder in {folder.path.resolve(): folder for folder in folders}.values()]
    ranked, unranked, instead = _without_repetitions(runs)
    by_section: dict[Hashable, dict[Setting, list[Run]]] = {}
    for run in ranked:
        by_section.setdefault(_key(run), {}).setdefault(setting(run), []).append(run)
    rest = [(frozenset(setting(run)), run) for run in unranked if run.config and run.status != REPEATED]
    sections = []
    for groups in by_section.values():
        others = _others(list(groups), rest)
        entries = [_entry(group, others.get(key, [])) for key, group in groups.items()]
        sections.append(Section(tuple(sorted(entries, key=_order))))
    sections.sort(key=lambda section: -len(section.runs))
    unranked.sort(key=lambda run: (run.status, str(run.folder.path)))
    return Board(tuple(sections), tuple(unranked), tuple(differing(runs, _key)), instead)


def _others(
    settings: Sequence[Setting], rest: Sequence[tuple[frozenset[tuple[str, Hashable]], Run]]
) -> dict[Setting, list[Run]]:
    """The runs that are not ranked by their setting; one that ended too early to tell which is left out."""
    whole = {key: frozenset(key) for key in settings}
    found: dict[Setting, list[Run]] = {}
    for known, run in rest:
        keys = [key for key in settings if known <= whole[key]]
        if len(keys) == 1:
            found.setdefault(keys[0], []).append(run)
    return found


def _without_repetitions(runs: Sequence[Run]) -> tuple[list[Run], list[Run], dict[Path, Run]]:
    """Those that are ranked, those that are not, and for the folders of those that were repeated what counts."""
    newest: dict[Hashable, Run] = {}
    repeated: dict[Hashable, list[Run]] = {}
    unranked = []
    for run in sorted(runs, key=lambda run: run.started):
        if run.status not in _RANKED:
            unranked.append(run)
        elif run.value is None or run.data is None:
            unranked.append(replace(run, status="no score"))
        else:
            identity = (_key(run), setting(run), run.config.get("seed"), run.config.get("data.fold"))
            if identity in newest:
                repeated.setdefault(identity, []).append(replace(newest[identity], status=REPEATED))
            newest[identity] = run
    instead = {run.folder.path: newest[identity] for identity, older in repeated.items() for run in older}
    return list(newest.values()), unranked + [run for older in repeated.values() for run in older], instead


def _key(run: Run) -> Hashable:
    """Equal for runs whose scores can be compared."""
    return _data(run), run.split_unit, run.metric, run.mode


def _data(run: Run) -> Hashable:
    """The images and their split. Folds of one division have splits of their own, and count as alike."""
    if run.config.get("data.folds") is None:
        return run.data
    return run.images or run.data, *(run.config.get(f"data.{name}") for name in ("folds", "split_seed", "val_fraction"))


def _entry(group: Sequence[Run], others: Sequence[Run]) -> Entry:
    """The setting that these runs share; its status counts the others, which failed or are not finished, as well."""
    best_first = sorted(group, key=lambda run: (_signed(run.value, run.mode), str(run.folder.path)))
    same = [run for run in others if run.data is None or _key(run) == _key(group[0])]
    statuses = [run.status for run in group] + sorted(run.status for run in same)
    counts = Counter(statuses)
    words = [status if len(counts) == 1 else f"{count} {status}" for status, count in counts.items()]
    return Entry(tuple(best_first), ", ".join(words))


def _order(entry: Entry) -> tuple[float, float, str]:
    """Best first; ties go to the lower validation loss, then to the name."""
    loss = entry.loss.mean if entry.loss else float("inf")
    score = round(_signed(entry.score.mean, entry.runs[0].mode), 12)  # equal means differ in their last bits
    return score, round(loss, 12), str(entry.runs[0].folder.path)


def _signed(value: float | None, mode: str) -> float:
    return float("inf") if value is None else -value if mode == "max" else value
