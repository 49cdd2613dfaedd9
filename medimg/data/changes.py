"""What has become of a data set since a run wrote down its manifest."""

from pathlib import Path

from medimg.data.manifest import Manifest, Record, examples, read_manifest_csv


def changes(file: Path, manifest: Manifest) -> str:
    """In words, with the first few names, what differs from the manifest in a CSV.

    Raises:
        RequestError: the CSV cannot be read.
    """
    before = {record.path: record for record in read_manifest_csv(file).records}
    now = {record.path: record for record in manifest.records}
    both = [path for path in now if path in before]
    found = {
        "new": [path for path in now if path not in before],
        "gone": [path for path in before if path not in now],
        "of another class": [path for path in both if now[path].label != before[path].label],
        "of another frame of their file": [path for path in both if now[path].frame != before[path].frame],
        "of another split, patient or group": [path for path in both if _place(now[path]) != _place(before[path])],
    }
    said = [f"{len(paths)} {what} ({examples(paths)})" for what, paths in found.items() if paths]
    return "; ".join(said) or "the same names, with other content"


def _place(record: Record) -> tuple[str | None, ...]:
    return record.split, record.patient_id, record.group
