"""Patients: in more than one split, with several labels, or unknown."""

from collections import defaultdict

from medimg.checks.findings import Finding, plural
from medimg.data.manifest import SPLITS, Manifest, Record


def check_patients(manifest: Manifest) -> list[Finding]:
    """A finding for each patient on two sides, and one each for patients with several labels and images without one."""
    images: dict[str, list[Record]] = defaultdict(list)
    for record in manifest.records:
        if record.patient_id:
            images[record.patient_id].append(record)
    leaks = [_leak(patient, records) for patient, records in sorted(images.items()) if _sides(records) > 1]
    return [*leaks, *_several_labels(images), *_unknown(manifest, known=sum(map(len, images.values())))]


def _sides(records: list[Record]) -> int:
    return len({record.split for record in records if record.split})


def _leak(patient: str, records: list[Record]) -> Finding:
    each = [(split, sum(record.split == split for record in records)) for split in SPLITS]
    where = " and ".join(f"{count} in {split}" for split, count in each if count)
    return Finding(
        "patient_leak",
        "severe",
        tuple(record.path for record in records),
        f"Patient {patient!r} stands in more than one split: {plural(len(records), 'image')}, {where}.",
        "Put each patient into one split, or leave the splits out and let medimg cut them by patient (data.folds).",
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


def _unknown(manifest: Manifest, known: int) -> list[Finding]:
    total = len(manifest.records)
    if known == total:
        return []
    some = f"{plural(total - known, 'image')} of {total:,} without a patient" if known else "No patient is known"
    bare = tuple(record.path for record in manifest.records if not record.patient_id) if known else ()
    return [
        Finding(
            "patient_unknown",
            "note",
            bare,
            f"{some}: nothing keeps the images of one patient on one side of a split.",
            "Give a patient_id column, in metadata.csv or the manifest, or data.patient_regex; "
            "without, data.group_by=near_duplicates keeps at least look-alikes together.",
        )
    ]
