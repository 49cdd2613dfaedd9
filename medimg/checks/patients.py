"""Patients, and the groups that stand in for them: in more than one split, with several labels, or unknown."""

from collections import defaultdict
from collections.abc import Callable
from typing import Literal

from medimg.checks.findings import Finding, Severity, plural
from medimg.data.groups import CAVEAT, GroupSizes
from medimg.data.manifest import SPLITS, Manifest, Record


def check_patients(manifest: Manifest) -> list[Finding]:
    """A finding for each patient or group on two sides, and one each for mixed labels, groups and unknown patients."""
    patients = _members(manifest, lambda record: record.patient_id)
    groups = _members(manifest, lambda record: None if record.patient_id else record.group)
    return [
        *(_leak("patient", patient, records) for patient, records in patients.items() if _sides(records) > 1),
        *(_leak("group", group, records) for group, records in groups.items() if _sides(records) > 1),
        *_several_labels(patients),
        *_groups(manifest),
        *_unknown(manifest),
    ]


def _members(manifest: Manifest, name_of: Callable[[Record], str | None]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = defaultdict(list)
    for record in manifest.records:
        if name := name_of(record):
            found[name].append(record)
    return dict(sorted(found.items()))


def _sides(records: list[Record]) -> int:
    return len({record.split for record in records if record.split})


def _leak(unit: Literal["patient", "group"], name: str, records: list[Record]) -> Finding:
    each = [(split, sum(record.split == split for record in records)) for split in SPLITS]
    where = " and ".join(f"{count} in {split}" for split, count in each if count)
    severity: Severity = "severe" if unit == "patient" else "warning"
    return Finding(
        f"{unit}_leak",
        severity,
        tuple(record.path for record in records),
        f"{unit.capitalize()} {name!r} stands in more than one split: {plural(len(records), 'image')}, {where}.",
        f"Put each {unit} into one split, or leave the splits out and let medimg cut them by {unit} (data.folds).",
    )


def _several_labels(images: dict[str, list[Record]]) -> list[Finding]:
    mixed = {name: records for name, records in images.items() if len({record.label for record in records}) > 1}
    if not mixed:
        return []
    first = next(iter(sorted(mixed)))
    labels = ", ".join(sorted({record.label for record in mixed[first]}))
    message = f"{plural(len(mixed), 'patient')} with images of several classes, such as {first!r} ({labels})."
    return [
        Finding(
            "patient_labels",
            "note",
            tuple(record.path for name in sorted(mixed) for record in mixed[name]),
            message,
            "This can be right, as in a disease that heals. Where it cannot, correct the labels or the patient ids.",
        )
    ]


def _groups(manifest: Manifest) -> list[Finding]:
    sizes = GroupSizes.of(manifest)
    if sizes is None:
        return []
    number, images = plural(sizes.number, "group"), plural(sizes.images, "image")
    message = f"{number} of {images} stand in for patients; the largest has {plural(sizes.largest, 'image')}."
    cure = f"Mind that {CAVEAT}. A patient_id column, or data.patient_regex, is better where patients are known."
    return [Finding("patient_groups", "note", (), message, cure)]


def _unknown(manifest: Manifest) -> list[Finding]:
    total = len(manifest.records)
    alone = tuple(record.path for record in manifest.records if not (record.patient_id or record.group))
    if not alone:
        return []
    some = len(alone) < total
    who = f"{plural(len(alone), 'image')} of {total:,} without a patient" if some else "No patient is known"
    return [
        Finding(
            "patient_unknown",
            "note",
            alone if some else (),
            f"{who}: nothing keeps the images of one patient on one side of a split.",
            "Give a patient_id column, in metadata.csv or the manifest, or data.patient_regex; "
            "without, data.group_by=near_duplicates keeps at least look-alikes together.",
        )
    ]
