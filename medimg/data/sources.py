"""Where images come from: class folders, with or without split folders above them, or a CSV."""

import logging
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from medimg.data.classes import class_key
from medimg.data.manifest import (
    FILE_COLUMN,
    FRAME_COLUMN,
    GROUP_COLUMN,
    Manifest,
    Record,
    Row,
    Split,
    check_files,
    examples,
    normalise_path,
    parse_split,
    read_manifest_csv,
    read_table,
)
from medimg.data.problems import refuse, remark
from medimg.data.readers.sniff import (
    DICOM_SUFFIXES,
    NIFTI_SUFFIXES,
    PICTURE_SUFFIXES,
    is_dicom,
    may_be_nameless_dicom,
)
from medimg.data.readers.sniff import suffix_of as _suffix
from medimg.errors import RequestError

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = PICTURE_SUFFIXES | DICOM_SUFFIXES | NIFTI_SUFFIXES
METADATA = "metadata.csv"
# What archives, network drives and file systems leave behind: never data. Hidden folders are not looked at either.
_NEVER_DATA = frozenset({"__macosx", "@eadir", "lost+found"})
_LAYOUTS = (
    "Expected: ROOT/<class>/<image>, or ROOT/train/<class>/<image> with val/ and test/ beside train/ "
    "where there are any."
)
_METADATA_OWN = frozenset({"path", "label", "split", "patient_id", FILE_COLUMN, FRAME_COLUMN, GROUP_COLUMN})


class _ClassFolder(NamedTuple):
    name: str
    split: Split | None
    images: list[str]  # posix, relative to the root


@dataclass
class _Listing:
    folders: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def scan_folder(root: Path) -> Manifest:
    """All images below a folder of class folders, or of split folders that hold class folders.

    The folder's name is the label; folders inside class folders are fine; symbolic links are followed.
    A `metadata.csv` in the root adds its columns. Raises RequestError where the folder holds anything that leaves
    an image's class or split in doubt.
    """
    root = root.expanduser().absolute()
    top = _list_root(root)
    others: Counter[str] = Counter(_suffix(name) for name in top.others if name != METADATA)
    split_folders = _split_folders(root, top)
    if split_folders:
        found = [item for split, name in split_folders.items() for item in _classes_below(root, name, split, others)]
    else:
        found = [_class_folder(root, name, None, others) for name in top.folders]
    _check_found(root, top, found, others)
    if others:
        remark("other_files", f"{root}: {others.total()} files that are no images were left out ({_suffixes(others)}).")
    records = [Record(path, folder.name, folder.split) for folder in found for path in folder.images]
    records = _with_good_names(root, records)
    if METADATA in top.others:
        records = _with_metadata(records, root / METADATA)
    return Manifest(root=root, records=tuple(records))


def read_manifest_source(file: Path) -> Manifest:
    """The manifest in a CSV, with every image there; raises RequestError otherwise."""
    if file.expanduser().is_dir():
        raise RequestError(
            f"data.root={file} is a folder, and data=manifest reads a CSV with the columns path and label. "
            "For class folders use data=image_folder."
        )
    if not file.expanduser().exists():
        raise RequestError(
            f"data.root={file} does not exist. data=manifest needs a CSV with the columns path and label."
        )
    return check_files(read_manifest_csv(file))


def _list_root(root: Path) -> _Listing:
    if not root.exists():
        raise RequestError(f"data.root={root} does not exist. {_LAYOUTS}")
    if not root.is_dir():
        cure = " For a CSV use data=manifest." if root.suffix.casefold() == ".csv" else ""
        raise RequestError(f"data.root={root} is a file, where a folder is needed. {_LAYOUTS}{cure}")
    top = _list(root)
    _refuse_strays(root, top.images)
    if not top.folders:
        found = f"{len(top.images + top.others)} files and no folders" if top.images or top.others else "nothing"
        raise RequestError(f"{root} holds {found}. {_LAYOUTS}")
    return top


def _refuse_strays(folder: Path, images: list[str]) -> None:
    if images:
        what = f"{folder} holds {len(images)} images outside class folders ({examples(images)}): "
        files = [str(folder / name) for name in images]
        refuse("unlabelled", f"{what}which class they are is unknown.", _LAYOUTS, files)


def _list(folder: Path) -> _Listing:
    """What lies in one folder: names, hidden ones left out."""
    listing = _Listing()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.casefold() in _NEVER_DATA:
                    continue
                if entry.is_dir():
                    listing.folders.append(entry.name)
                elif _suffix(entry.name) not in IMAGE_SUFFIXES and not _is_nameless_dicom(entry):
                    listing.others.append(entry.name)
                elif entry.is_file():
                    listing.images.append(entry.name)
                else:
                    what = f"{entry.path}: this link or special file leads to no image."
                    refuse("unreadable", what, "Remove or mend it.", [entry.path])
    except OSError as error:
        raise RequestError(f"{folder}: the folder cannot be read ({error.strerror}).") from error
    listing.folders.sort()
    listing.images.sort()
    return listing


def _is_nameless_dicom(entry: os.DirEntry[str]) -> bool:
    if not may_be_nameless_dicom(entry.name) or not entry.is_file():
        return False
    try:
        with Path(entry.path).open("rb") as stream:
            return is_dicom(stream.read(132))
    except PermissionError:  # a file that nobody said is an image
        return False


def _split_folders(root: Path, top: _Listing) -> dict[Split, str]:
    """Which top folder is which split; none where the root holds class folders."""
    found: dict[Split, str] = {}
    for name in top.folders:
        split = parse_split(name)
        if split is None:
            continue
        if split in found:
            raise RequestError(f"{root} holds both {found[split]!r} and {name!r}, which both mean {split}. Keep one.")
        found[split] = name
    strays = [name for name in top.folders if name not in found.values()]
    if found and strays:
        names = examples(f"{name}/" for name in strays)
        remark("other_files", f"{root}: {names} beside the split folders were left out.")
    return found


def _classes_below(root: Path, name: str, split: Split, others: Counter[str]) -> list[_ClassFolder]:
    listing = _list(root / name)
    _refuse_strays(root / name, listing.images)
    others.update(_suffix(other) for other in listing.others)
    return [_class_folder(root, f"{name}/{folder}", split, others) for folder in listing.folders]


def _class_folder(root: Path, path: str, split: Split | None, others: Counter[str]) -> _ClassFolder:
    inner = [name for name in _list(root / path).folders if parse_split(name)]
    if inner and split is None:
        raise RequestError(
            f"{root / path} holds the split folder {inner[0]!r}. Split folders belong above the class folders. "
            f"{_LAYOUTS} If {path!r} holds the whole data set, give data.root={root / path}."
        )
    return _ClassFolder(PurePosixPath(path).name, split, _walk(root, path, others, frozenset()))


def _walk(root: Path, path: str, others: Counter[str], above: frozenset[tuple[int, int]]) -> list[str]:
    """All images below a folder; `above` are the folders that lead here, so that a link to one of them ends there."""
    status = (root / path).stat()
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        return []
    listing = _list(root / path)
    others.update(_suffix(name) for name in listing.others)
    images = [f"{path}/{name}" for name in listing.images]
    for folder in listing.folders:
        images += _walk(root, f"{path}/{folder}", others, above | {identity})
    return images


def _check_found(root: Path, top: _Listing, found: list[_ClassFolder], others: Counter[str]) -> None:
    filled = {class_key(folder.name): folder.name for folder in found if folder.images}
    if not filled:
        names = examples(f"{name}/" for name in top.folders)
        extra = f", only other files ({_suffixes(others)})" if others else ""
        raise RequestError(
            f"{root} holds folders ({names}) but no images{extra}. {_LAYOUTS} "
            f"Images are files that end in {' '.join(sorted(IMAGE_SUFFIXES))}, and DICOM files without a suffix."
        )
    empty = sorted({folder.name for folder in found if class_key(folder.name) not in filled})
    if empty:
        what = f"{root}: class folders without any image: {examples(empty)}."
        refuse("missing_class", what, "Fill them or remove them; a class without images cannot be learnt.")
    if len(filled) == 1:
        what = f"{root} holds one class only, {next(iter(filled.values()))!r}."
        refuse("missing_class", what, f"At least two are needed. {_LAYOUTS}")


def _with_good_names(root: Path, records: list[Record]) -> list[Record]:
    good = []
    for record in records:
        shown = record.path.encode(errors="backslashreplace").decode()
        if shown == record.path:
            good.append(record)
        else:
            refuse("file_name", f"{root}: the name of {shown!r} is not UTF-8.", "Rename it.", [shown])
    return good


def _with_metadata(records: list[Record], file: Path) -> list[Record]:
    _, rows = read_table(file, needed=("path",))
    by_path: dict[str, Row] = {}
    for row in rows:
        path = normalise_path(row.values["path"]) if row.values["path"] else ""
        if not path:
            refuse("metadata", f"{file}: row {row.number}: path is empty.")
        elif path in by_path:
            what = f"{file}: row {row.number}: {path!r} stands in row {by_path[path].number} already."
            refuse("metadata", what, files=[path])
        else:
            by_path[path] = row
    paths = {record.path for record in records}
    strays = sum(path not in paths for path in by_path)
    bare = sum(path not in by_path for path in paths)
    if strays or bare:
        remark("metadata", f"{file}: {strays} rows name no image here, and {bare} images have no row.")
    return [_merge(record, by_path[record.path], file) if record.path in by_path else record for record in records]


def _merge(record: Record, row: Row, file: Path) -> Record:
    where = f"{file}: row {row.number}: {record.path!r}"
    label = row.values.get("label", "")
    if label and class_key(label) != class_key(record.label):
        what = f"{where} has label {label!r}, but lies in the folder {record.label!r}."
        cure = "Correct one of them; or give the column another name, if it means something else."
        refuse("label_conflict", what, cure, [record.path])
    named = row.values.get("split", "")
    split = parse_split(named)
    if named and split is None:
        refuse("metadata", f"{where} has split {named!r}; allowed are train, val, test or nothing.", "", [record.path])
    if split and record.split and split != record.split:
        what = f"{where} has split {named!r}, but lies in the {record.split} folder."
        refuse("metadata", what, "Correct one of them.", [record.path])
    return replace(
        record,
        split=record.split or split,
        patient_id=row.values.get("patient_id") or None,
        columns={name: value for name, value in row.values.items() if name and name not in _METADATA_OWN},
    )


def _suffixes(others: Counter[str]) -> str:
    return ", ".join(suffix or "no suffix" for suffix, _ in others.most_common(5))
