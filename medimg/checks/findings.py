"""What a check finds: kinds, severities, and the JSON that other programs read."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from medimg.config.check import as_dict
from medimg.config.data import DataConfig
from medimg.data.problems import Problem

Severity = Literal["severe", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("severe", "warning", "note")

# Every kind, in the order in which reports show them where severities are equal, with its heading.
KINDS = {
    "unreadable": "Files that cannot be read",
    "needs_setting": "Images that need another setting, or a package",
    "several_frames": "Files of several frames",
    "unlabelled": "Images whose class is unknown",
    "class_mismatch": "Class names that do not fit together",
    "missing_class": "Classes without images",
    "patient_leak": "Patients in more than one split",
    "group_leak": "Groups in more than one split",
    "duplicate": "Exact copies",
    "near_duplicate": "Near duplicates",
    "label_conflict": "Contradicting labels",
    "shortcut": "Possible shortcuts",
    "wrong_format": "Files whose name hides their format",
    "file_name": "File names that cannot be used",
    "metadata": "Tables that do not fit the images",
    "small_class": "Small classes",
    "patient_labels": "Patients with several labels",
    "patient_groups": "Groups that stand in for patients",
    "patient_unknown": "Images whose patient is unknown",
    "other_files": "Files that were left out",
}

# The rules of severity, all of them. Severe: training would stop, or its scores would be wrong. Warning: they may be.
# Note: good to know. Where a rule needs to know more than the kind, it says so here and the check decides.
RULES = {
    "unreadable": "severe: the image is lost, and training stops at it",
    "needs_setting": "severe: training refuses them; one finding for each cause",
    "several_frames": "severe: training refuses them without data.multiframe=expand",
    "unlabelled": "severe: training refuses the folder",
    "class_mismatch": "severe: training refuses the classes, or would learn two names for one",
    "missing_class": "severe where train lacks it, warning where another split does",
    "patient_leak": "severe: scores are too good",
    "group_leak": "warning: a group stands in for a patient, and is a guess",
    "duplicate": "severe across splits; warning within one, or where the source has no splits",
    "near_duplicate": "severe across splits, but a warning where two different patients are known; within one split a "
    "note, and without splits a warning, unless patients or groups keep them together",
    "label_conflict": "severe where pixels are the same or a table contradicts a folder; warning for near duplicates",
    "shortcut": "warning for a strong association (V 0.5, AUC 0.75 and more), note for a weaker one; a suspicion, so "
    "never severe",
    "wrong_format": "warning: medimg reads by content, other programs may not",
    "file_name": "severe: training refuses it",
    "metadata": "severe where training refuses the table, warning otherwise",
    "small_class": "warning below 10 training images, note below 10 in another split",
    "patient_labels": "note: it can be right",
    "patient_groups": "note: how many there are, and what they cannot do",
    "patient_unknown": "note: splits are by image then; severe where data.patient_regex was to find them",
    "other_files": "note",
}


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes:
        kind: one of `KINDS`.
        severity: by `RULES`.
        files: paths as in the manifest. Those of one copy finding are copies of each other.
        message: what was found.
        cure: what to do about it.
    """

    kind: str
    severity: Severity
    files: tuple[str, ...]
    message: str
    cure: str


@dataclass(frozen=True)
class Comparison:
    """One thing that the class was compared with.

    Attributes:
        what: as in "the column 'hospital'".
        measure: `V`: Cramér's V with bias correction; `AUC`: of a cross-validated probe, 0.5 being chance.
        value: 0 to 1.
        p: share of permutations at least as strong.
        suspicious: whether it became a finding.
    """

    what: str
    measure: Literal["V", "AUC"]
    value: float
    p: float
    suspicious: bool = False


@dataclass(frozen=True)
class Report:
    """All that a check found.

    Attributes:
        findings: sorted by severity, then kind.
        counts: images by split and class; records without a split under "none".
        comparisons: what the class was compared with, whatever came out.
        properties: by property (format, mode, bits, size) and class, how many images have each value.
        unit: what was kept together in the comparisons: `patients`, `groups of look-alikes` or `images`.
        quick: whether only headers and the manifest were looked at.
    """

    findings: tuple[Finding, ...]
    counts: Mapping[str, Mapping[str, int]]
    comparisons: tuple[Comparison, ...] = ()
    properties: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    unit: str = "images"
    quick: bool = False

    def of(self, severity: Severity) -> list[Finding]:
        """The findings of a severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def severe(self) -> bool:
        """Whether anything severe was found."""
        return bool(self.of("severe"))

    def as_dict(self, config: DataConfig) -> dict[str, Any]:
        """The content of check.json; `config` holds the data keys that the images were listed with."""
        return {"data": as_dict(config), **asdict(self)}


def ordered(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The worst first, and one kind after another."""
    kinds = list(KINDS)
    return tuple(sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), kinds.index(one.kind), one.files)))


def by_kind(findings: Iterable[Finding]) -> dict[tuple[Severity, str], list[Finding]]:
    """Findings by severity and kind, in order."""
    groups: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in ordered(findings):
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    return groups


def from_problem(problem: Problem, root: str) -> Finding:
    """The finding of a problem that came up when the data was listed; files below `root` become relative to it."""
    severity: Severity = "severe" if problem.refused else "warning" if problem.kind == "metadata" else "note"
    files = tuple(file.removeprefix(f"{root}/") for file in problem.files)
    return Finding(problem.kind, severity, files, problem.message, problem.cure)


def plural(count: int, one: str, many: str = "") -> str:
    """A count and its noun: `1 image`, `2,000 images`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
