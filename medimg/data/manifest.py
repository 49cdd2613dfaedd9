"""The table that all data becomes first: a record for each image, and its CSV form."""

import csv
import hashlib
import json
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from medimg.config.windows import WindowValue
from medimg.data.problems import refuse
from medimg.errors import RequestError, suggestion

if TYPE_CHECKING:
    from torch import Tensor

Split = Literal["train", "val", "test"]
SplitUnit = Literal["patient", "group", "image"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")
_SPLIT_NAMES: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
FILE_COLUMN = "medimg_file"  # of our own manifests: no name that a user would give to something else
FRAME_COLUMN = "medimg_frame"
GROUP_COLUMN = "medimg_group"
_OWN_COLUMNS = ("path", "label", "split", "patient_id", FILE_COLUMN, FRAME_COLUMN, GROUP_COLUMN)
_SAMPLE = 4096  # bytes from the middle of each image: other pixels, other bytes, without reading everything
_SHOWN = 3  # examples in an error message


@dataclass(frozen=True, slots=True)
class Record:
    """One image.

    `path` is its identity: posix, relative to the manifest's root, as in the source. `file` is where it is read from,
    where that is not root/path, and `frame` which frame, slice or row of that file, from 0. `columns` holds what
    else the source says about it. `group` stands in for the patient where none is known (see `data/groups.py`).
    """

    path: str
    label: str
    split: Split | None = None
    patient_id: str | None = None
    file: str | None = None
    columns: dict[str, str] = field(default_factory=dict, hash=False)
    frame: int | None = None
    group: str | None = None


@dataclass(frozen=True)
class Manifest:
    """All images of a data set, sorted by path whatever order they came in.

    A class's index is its position in `classes`, which is empty until the class names are resolved.
    `positive_class` is set for binary tasks only. `skipped` names images that were left out, with the reason.
    `window` is the CT window through which they are read.
    """

    root: Path
    records: tuple[Record, ...]
    classes: tuple[str, ...] = ()
    positive_class: str | None = None
    split_unit: SplitUnit = "image"
    synthetic: bool = False
    skipped: Mapping[str, str] = field(default_factory=dict, hash=False)
    window: WindowValue | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "records", tuple(sorted(self.records, key=lambda record: record.path)))

    def of(self, split: Split) -> list[Record]:
        """The records of one split, sorted by path."""
        return [record for record in self.records if record.split == split]

    def file(self, record: Record) -> Path:
        """Where the image of a record is read from."""
        return self.root / (record.file or record.path)

    def read(self, record: Record, channels: Literal[1, 3]) -> "Tensor":
        """The pixels of an image; see `medimg.data.readers.read_image`. Several windows make three channels."""
        from medimg.data.readers import read_image

        return read_image(self.file(record), channels, frame=record.frame, window=self.window)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images by split and class, zeros included; records without a split stand under "none"."""
        found = Counter((record.split or "none", record.label) for record in self.records)
        labels = self.classes or sorted({record.label for record in self.records})
        present = {split for split, _ in found}
        return {
            split: {label: found[split, label] for label in labels} for split in (*SPLITS, "none") if split in present
        }

    def fingerprint(self) -> str:
        """SHA-256, as hex, over path, label, split, patient, file size and some bytes of every image.

        Its frame and its group come in where it has them.
        It does not depend on the root folder, the machine or the order of the source.
        Raises RequestError where an image has vanished.
        """
        return self._fingerprints[0]

    def images_fingerprint(self) -> str:
        """The same without split and group: folds and other splits of the same images share it."""
        return self._fingerprints[1]

    @cached_property
    def _fingerprints(self) -> tuple[str, str]:
        """With the split and without; each file is read once for both."""
        with_split, without = hashlib.sha256(), hashlib.sha256()
        last, size, sample = None, 0, b""
        for record in self.records:
            name = record.file or record.path
            if name != last:  # the slices of a volume stand together
                size, sample = _size_and_sample(self.file(record))
                last = name
            # named, and only where they are there: the prints of other data stay what they were
            frame = [] if record.frame is None else [["frame", record.frame]]
            group = [] if record.group is None else [["group", record.group]]
            for digest, split, more in ((with_split, [record.split], [*frame, *group]), (without, [], frame)):
                line = json.dumps([record.path, record.label, *split, record.patient_id, size, *more])
                digest.update(line.encode() + b"\n" + sample)
        return with_split.hexdigest(), without.hexdigest()


def _size_and_sample(file: Path) -> tuple[int, bytes]:
    try:
        with file.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(size // 2)
            return size, stream.read(_SAMPLE)
    except OSError as error:
        raise RequestError(f"{file}: the image cannot be read ({error.strerror}).") from error


class Row(NamedTuple):
    """A row of a CSV: its number as spreadsheets count (the header is 1), and its values by column, blanks stripped."""

    number: int
    values: dict[str, str]


def parse_split(name: str) -> Split | None:
    """The split that a folder or a CSV means, or None where the name is none of a split; case does not count."""
    return _SPLIT_NAMES.get(name.strip().casefold())


def normalise_path(text: str) -> str:
    """A path in posix form, backslashes and `./` resolved."""
    return posixpath.normpath(text.replace("\\", "/"))


def read_table(file: Path, needed: Sequence[str]) -> tuple[list[str], list[Row]]:
    """The columns and the rows of a CSV (commas, UTF-8); our own columns are recognised in any case.

    Raises RequestError where it is no CSV, or a needed column is missing, or a row has more values than the header.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.reader(stream))
    except OSError as error:
        raise RequestError(f"{file}: the CSV cannot be read ({error.strerror}).") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"{file}: this is not a CSV in UTF-8 ({error}).") from error
    columns = [_column_name(name) for name in lines[0]] if lines else []
    _check_columns(file, columns, needed)
    rows, problems = [], []
    for number, line in enumerate(lines[1:], start=2):
        if not any(value.strip() for value in line):
            continue
        if any(value.strip() for value in line[len(columns) :]):
            problems.append(f"row {number} has {len(line)} values for {len(columns)} columns")
        values = dict.fromkeys(columns, "")
        values.update(zip(columns, (value.strip() for value in line), strict=False))
        rows.append(Row(number, values))
    _fail_on(file, problems)
    return columns, rows


def read_manifest_csv(file: Path) -> Manifest:
    """A manifest from a CSV with `path` and `label`, and `split`, `patient_id`, `file` and others where there are any.

    Paths and files are relative to the CSV's own folder. Whether the images exist is not looked at here.
    """
    file = file.expanduser().absolute()
    _, rows = read_table(file, needed=("path", "label"))
    if not rows:
        raise RequestError(f"{file}: the manifest has a header and no rows. It needs a row for each image.")
    first_row: dict[str, int] = {}
    records, problems = [], []
    for row in rows:
        problem = _row_problem(row)
        if problem is None:
            record = _record(row, file.parent)
            first = first_row.setdefault(record.path, row.number)
            problem = f"path {record.path!r} stands in row {first} already" if first != row.number else None
        if problem is None:
            records.append(record)
        else:
            problems.append(f"row {row.number}: {problem}")
    _fail_on(file, problems)
    return Manifest(root=file.parent, records=tuple(records))


def write_manifest_csv(manifest: Manifest, file: Path) -> None:
    """Write the manifest so that `data=manifest data.root=FILE` gives it back from anywhere on this machine.

    The file appears whole or not at all.
    """
    others = sorted({name for record in manifest.records for name in record.columns})
    with_frames = any(record.frame is not None for record in manifest.records)
    with_groups = any(record.group for record in manifest.records)
    ours = [*([FRAME_COLUMN] if with_frames else []), *([GROUP_COLUMN] if with_groups else [])]
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow([*_OWN_COLUMNS[:5], *ours, *others])
            for record in manifest.records:
                own = (record.path, record.label, record.split, record.patient_id, manifest.file(record).absolute())
                frame = [record.frame] if with_frames else []
                group = [record.group] if with_groups else []
                writer.writerow([*own, *frame, *group, *(record.columns.get(name, "") for name in others)])
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def check_files(manifest: Manifest) -> Manifest:
    """The manifest, once all its images are there; raises RequestError with the first few that are not, and how many.

    Where problems are gathered, it is the manifest of those that are there.
    """
    there = {name: (manifest.root / name).is_file() for name in {r.file or r.path for r in manifest.records}}
    missing = [record.path for record in manifest.records if not there[record.file or record.path]]
    if not missing:
        return manifest
    what = f"{len(missing)} of the {len(manifest.records)} images do not exist: {examples(missing)}."
    refuse("unreadable", what, f"Paths are relative to {manifest.root}.", missing)
    return replace(manifest, records=tuple(r for r in manifest.records if there[r.file or r.path]))


def examples(names: Iterable[str]) -> str:
    """The first few names, quoted, and dots where there are more."""
    quoted = [repr(name) for name in names]
    return ", ".join(quoted[:_SHOWN]) + (", ..." if len(quoted) > _SHOWN else "")


def _column_name(name: str) -> str:
    name = name.strip()
    return name.casefold() if name.casefold() in _OWN_COLUMNS else name


def _check_columns(file: Path, columns: list[str], needed: Sequence[str]) -> None:
    twice = [name for name, count in Counter(columns).items() if count > 1 and name]
    if twice:
        raise RequestError(f"{file}: the header has column {twice[0]!r} more than once.")
    for name in needed:
        if name not in columns:
            found = ", ".join(repr(column[:40]) for column in columns[:12]) or "nothing"
            hint = suggestion(name, columns).replace("Did you mean", "Is it")
            raise RequestError(
                f"{file}: column {name!r} is missing. The header has {found}. "
                f"Needed: {', '.join(needed)}, separated by commas. {hint}".rstrip()
            )


def _row_problem(row: Row) -> str | None:
    split = row.values.get("split", "")
    if not row.values["path"]:
        return "path is empty"
    if not row.values["label"]:
        return "label is empty"
    if split and parse_split(split) is None:
        return f"split is {split!r}; allowed are train, val, test or nothing"
    frame = row.values.get(FRAME_COLUMN, "")
    if frame and not (frame.isascii() and frame.isdigit()):
        return f"{FRAME_COLUMN} is {frame!r}; allowed are whole numbers from 0, or nothing"
    return None


def _record(row: Row, folder: Path) -> Record:
    values = row.values
    return Record(
        # An absolute path below the CSV's folder is the same image as the relative one.
        path=normalise_path(values["path"]).removeprefix(f"{folder.as_posix()}/"),
        label=values["label"],
        split=parse_split(values.get("split", "")),
        patient_id=values.get("patient_id") or None,
        file=values.get(FILE_COLUMN) or None,
        columns={name: value for name, value in values.items() if name and name not in _OWN_COLUMNS},
        frame=int(values[FRAME_COLUMN]) if values.get(FRAME_COLUMN) else None,
        group=values.get(GROUP_COLUMN) or None,
    )


def _fail_on(file: Path, problems: list[str]) -> None:
    if problems:
        more = f" (and {len(problems) - _SHOWN} more)" if len(problems) > _SHOWN else ""
        refuse("metadata", f"{file}: {'; '.join(problems[:_SHOWN])}{more}.")
