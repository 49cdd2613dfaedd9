"""Classes that a split lacks, or has too few images of."""

from medimg.checks.findings import Finding, Severity, plural
from medimg.data.manifest import Manifest

_FEW = 10  # one image more or less is then ten points of that class's sensitivity

# by kind, and whether the split is trained on
_SEVERITY_AND_CURE: dict[tuple[str, bool], tuple[Severity, str]] = {
    ("missing_class", True): ("severe", "Add some, or take the class out of the other splits."),
    ("missing_class", False): (
        "warning",
        "Add some; without, averages over classes leave it out, and cannot be compared with others.",
    ),
    ("small_class", True): ("warning", "Expect little of this class; add images, or join it with another."),
    ("small_class", False): ("note", "Read its figures with their intervals, or use data.folds to test on more."),
}


def missing_and_small(manifest: Manifest) -> list[Finding]:
    """Classes without an image in a split that there is, and classes with a handful."""
    present = {record.label for record in manifest.records}
    found = []
    for split, by_class in manifest.counts().items():
        training = split in {"train", "none"}
        for label, count in by_class.items():
            where = "the data" if split == "none" else split
            if count == 0 and label in present:
                found.append(_finding("missing_class", label, where, 0, training=training))
            elif 0 < count < _FEW:
                found.append(_finding("small_class", label, where, count, training=training))
    if manifest.records and not any(record.split in {None, "train"} for record in manifest.records):
        cure = "Add a train split, or leave the split folders out."
        found.append(Finding("missing_class", "severe", (), "There is no training image at all.", cure))
    return found


def _finding(kind: str, label: str, where: str, count: int, *, training: bool) -> Finding:
    severity, cure = _SEVERITY_AND_CURE[kind, training]
    number = plural(count, "image") if count else "no image"
    return Finding(kind, severity, (), f"Class {label!r} has {number} in {where}.", cure)
