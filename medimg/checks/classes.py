"""Classes that a split lacks, or has too few images of."""

from medimg.checks.findings import Finding
from medimg.data.manifest import Manifest

_FEW = 10  # one image more or less is then ten points of that class's sensitivity


def missing_and_small(manifest: Manifest) -> list[Finding]:
    """Classes without an image in a split that there is, and classes with a handful."""
    present = {record.label for record in manifest.records}
    found = []
    for split, by_class in manifest.counts().items():
        training = split in {"train", "none"}
        for label, count in by_class.items():
            where = "the data" if split == "none" else split
            if count == 0 and label in present:
                found.append(_missing(label, where, training=training))
            elif 0 < count < _FEW:
                found.append(_small(label, where, count, training=training))
    if manifest.records and not any(record.split in {None, "train"} for record in manifest.records):
        cure = "Add a train split, or leave the split folders out."
        found.append(Finding("missing_class", "severe", (), "There is no training image at all.", cure))
    return found


def _missing(label: str, where: str, *, training: bool) -> Finding:
    message = f"Class {label!r} has no image in {where}."
    cure = (
        "Add some, or take the class out of the other splits."
        if training
        else "Add some; without, averages over classes leave it out, and cannot be compared with others."
    )
    return Finding("missing_class", "severe" if training else "warning", (), message, cure)


def _small(label: str, where: str, count: int, *, training: bool) -> Finding:
    number = "1 image" if count == 1 else f"{count} images"
    message = f"Class {label!r} has {number} in {where}."
    cure = (
        "Expect little of this class; add images, or join it with another."
        if training
        else "Read its figures with their intervals, or use data.folds to test on more."
    )
    return Finding("small_class", "warning" if training else "note", (), message, cure)
