"""Exact copies and near duplicates: within a split, across splits, and with different labels."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence

from medimg.checks.findings import Finding, Severity
from medimg.data.manifest import SPLITS, Manifest, Record
from medimg.data.similarity import Pair, clusters
from medimg.data.units import unit_of

_SAMPLE = 4096  # bytes from the middle that are compared before whole files are
_KEEP_ONE = "Keep one of them, in one split."


def copies(manifest: Manifest, pairs: Sequence[Pair]) -> list[Finding]:
    """A finding for each set of images that are copies of each other.

    `duplicate` and `near_duplicate` say that there are copies. Where their labels differ it is a `label_conflict`
    instead, and where such copies stand in different splits it is both.
    """
    found: list[Finding] = []
    for exact in (True, False):
        chosen = [pair for pair in pairs if pair.exact == exact]
        for members in clusters(len(manifest.records), chosen):
            if len(members) > 1:
                found += _cluster([manifest.records[position] for position in members], exact=exact)
    return found


def same_bytes(manifest: Manifest) -> list[Pair]:
    """Images whose files are the same byte for byte: what of exact copies can be told without decoding.

    Files are compared by length first, then by some bytes, and read whole only where these agree.
    """
    groups: dict[object, list[int]] = {None: [i for i, one in enumerate(manifest.records) if one.frame is None]}
    for key in (_length, _sample, _digest):
        finer: dict[object, list[int]] = defaultdict(list)
        for group, members in groups.items():
            for position in members if len(members) > 1 else ():
                part = key(str(manifest.file(manifest.records[position])))
                if part is not None:
                    finer[group, part].append(position)
        groups = finer
    together = [sorted(members) for members in groups.values() if len(members) > 1]
    return [Pair(first, other, True, 0.0) for first, *others in together for other in others]


def _length(file: str) -> int | None:
    try:
        return os.stat(file).st_size or None  # noqa: PTH116 (a Path for each of 100,000 files takes its time)
    except OSError:
        return None


def _sample(file: str) -> bytes | None:
    try:
        with open(file, "rb") as stream:  # noqa: PTH123
            stream.seek(stream.seek(0, os.SEEK_END) // 2)
            return stream.read(_SAMPLE)
    except OSError:
        return None


def _digest(file: str) -> bytes | None:
    try:
        with open(file, "rb") as stream:  # noqa: PTH123
            return hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return None


def _cluster(records: list[Record], *, exact: bool) -> Iterable[Finding]:
    files = tuple(record.path for record in records)
    what = f"{len(records)} images with the same pixels" if exact else f"{len(records)} images that look the same"
    present = {record.split or "none" for record in records}
    splits: list[str] = [split for split in (*SPLITS, "none") if split in present]
    labels = sorted({record.label for record in records})
    if len(labels) > 1:
        severity: Severity = "severe" if exact else "warning"
        cure = "At least one label is wrong: find out which." if exact else "Look at them: is one of the labels wrong?"
        yield Finding("label_conflict", severity, files, f"{what} have different labels: {', '.join(labels)}.", cure)
    if len(labels) == 1 or len(splits) > 1:
        kind = "duplicate" if exact else "near_duplicate"
        where = f" in different splits: {', '.join(splits)}" if len(splits) > 1 else _within(splits[0])
        severity = _severity(records, splits, exact=exact)
        yield Finding(kind, severity, files, f"{what}{where}.", _cure(records, splits, exact=exact))


def _severity(records: list[Record], splits: list[str], *, exact: bool) -> Severity:
    """By the rules of `findings.RULES`."""
    patients = [record.patient_id for record in records]
    if exact:
        return "severe" if len(splits) > 1 else "warning"
    if len(splits) > 1:
        strangers = all(patients) and len(set(patients)) == len(patients)
        return "warning" if strangers else "severe"
    return "warning" if splits == ["none"] and not _kept_together(records) else "note"


def _kept_together(records: list[Record]) -> bool:
    """Whether one patient, or one group that stands in for it, keeps all of these on one side of a split."""
    units = {unit_of(record) for record in records}
    return len(units) == 1 and len(records) > 1


def _within(split: str) -> str:
    return "" if split == "none" else f" within {split}"


def _cure(records: list[Record], splits: list[str], *, exact: bool) -> str:
    if len(splits) > 1:
        keep_one = _KEEP_ONE if exact else f"Look at them. If they show the same picture: {_KEEP_ONE.lower()}"
        return f"{keep_one} {_one_side(records)}"
    if exact:
        return "Keep one of them; each copy counts as an image more."
    return f"Look at them. {_one_side(records)}"


def _one_side(records: list[Record]) -> str:
    """What keeps copies on one side of a split that medimg cuts; groups stand in for unknown patients alone."""
    if _kept_together(records):
        what = f"their {unit_of(records[0])[0]} keeps them"
    elif any(record.patient_id for record in records):
        what = "giving them the same patient_id keeps them"
    else:
        what = "data.group_by=near_duplicates keeps look-alikes, and a patient_id the images of a patient,"
    return f"Where medimg cuts the split, {what} on one side."
