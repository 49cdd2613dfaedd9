"""What `input=` means: one file, a folder, a CSV or an archive becomes a list of images to predict for."""

import hashlib
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from medimg.data.frames import expand_files
from medimg.data.manifest import FILE_COLUMN, FRAME_COLUMN, Manifest, Record, Row, normalise_path, read_table
from medimg.data.problems import gathered
from medimg.data.readers.sniff import known_kind, may_be_nameless_dicom, suffix_of
from medimg.data.sources import IMAGE_SUFFIXES
from medimg.errors import RequestError

_ARCHIVE = ".npz"
# What archives, network drives and file systems leave behind. Hidden folders are not looked at either.
_NEVER_DATA = frozenset({"__macosx", "@eadir", "lost+found"})
_EXPECTED = "Expected: an image, a folder of images at any depth, a CSV with the column path, or an .npz archive."


class Input(NamedTuple):
    """One image to predict for.

    `path` is how the table calls it: one line, relative to what was given. `file` is where it is read from, and `frame`
    which frame, slice or row of that file. `problem` says why it cannot be read, where listing has shown that already.
    """

    path: str
    file: str
    frame: int | None = None
    problem: str | None = None
    values: tuple[str, ...] = ()  # of the CSV's other columns


class Inputs(NamedTuple):
    """All images of a request in the order of the table, and how many files of which ending are none.

    `columns` are the names of what a CSV has besides path, file and frame.
    """

    items: tuple[Input, ...]
    left_out: Counter[str]
    columns: tuple[str, ...] = ()

    def digest(self) -> str:
        """SHA-256, as hex, over what there is to read: another list has another one."""
        found = hashlib.sha256()
        for item in self.items:
            found.update(json.dumps(item).encode() + b"\n")
        return found.hexdigest()


def list_inputs(given: str, without: Path | None = None) -> Inputs:
    """The images that a path stands for; slices, frames and the rows of archives are an image each.

    A file that cannot be read is in the list like any other: what is wrong with it is said in its row.

    Args:
        given: an image, a folder, a CSV with a column `path`, or an archive.
        without: a folder that is not looked into.

    Raises:
        RequestError: there is no such file, no image in it, or packages are missing that would read one.
    """
    path = Path(given).expanduser().absolute()
    if not path.exists():
        raise RequestError(f"input={given}: there is no such file or folder\n  looked in {Path.cwd()}\n  {_EXPECTED}")
    left_out: Counter[str] = Counter()
    columns: tuple[str, ...] = ()
    if path.is_dir():
        found = sorted(_walk(path, without, left_out))
    elif suffix_of(path.name) == ".csv":
        columns, found = _listed(path)
    else:
        found = [_single(given, path)]
    if not found:
        others = f" but {left_out.total()} other files ({', '.join(sorted(left_out))})" if left_out else ""
        raise RequestError(f"input={given}: there is no image in it{others}\n  {_EXPECTED}")
    return Inputs(tuple(item for one in found for item in _expanded(one)), left_out, columns)


def _single(given: str, file: Path) -> Input:
    """One file, that has the name or the content of an image."""
    problem = _no_file(file)
    if problem is None and not _may_be_image(file.name) and known_kind(file) is None:
        raise RequestError(f"input={given}: this is no image\n  {_EXPECTED}")
    return Input(_one_line(file.name), str(file), problem=problem)


def _walk(root: Path, without: Path | None, left_out: Counter[str]) -> Iterator[Input]:
    """Every file below a folder that may be an image; links are followed, but never in a circle."""

    def refuse(error: OSError) -> None:
        raise RequestError(f"{error.filename}: the folder cannot be read ({error.strerror})") from error

    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=refuse):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen or Path(folder) == without:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name.casefold() not in _NEVER_DATA)
        for name in names:
            if name.startswith("."):
                continue
            if _may_be_image(name):
                file = Path(folder, name)
                shown = _one_line(file.relative_to(root).as_posix())
                yield Input(shown, str(file), problem=_no_file(file))
            else:
                left_out[suffix_of(name)] += 1


def _may_be_image(name: str) -> bool:
    return suffix_of(name) in {*IMAGE_SUFFIXES, _ARCHIVE} or may_be_nameless_dicom(name)


def _no_file(file: Path) -> str | None:
    """Why what has the name of an image is none: opening a named pipe would wait for ever."""
    try:
        regular = stat.S_ISREG(file.stat().st_mode)
    except OSError as error:
        return f"the image cannot be read: {error.strerror or type(error).__name__}"
    return None if regular else "this is no regular file"


def _listed(file: Path) -> tuple[tuple[str, ...], list[Input]]:
    """The other columns of a CSV, and its images."""
    names, rows = read_table(file, needed=("path",))
    columns = tuple(name for name in names if name and name not in {"path", FILE_COLUMN, FRAME_COLUMN})
    return columns, list(_rows(file, rows, columns))


def _rows(file: Path, rows: Iterable[Row], columns: Sequence[str]) -> Iterator[Input]:
    """The images that a CSV names, relative to its own folder; a run's manifest.csv names frames as well."""
    for row in rows:
        path, frame = row.values["path"], row.values.get(FRAME_COLUMN, "")
        if not path or (frame and not (frame.isascii() and frame.isdigit())):
            wrong = f"{FRAME_COLUMN} is {frame!r}" if path else "path is empty"
            raise RequestError(f"{file}: row {row.number}: {wrong}")
        path = normalise_path(path)
        where = file.parent / (row.values.get(FILE_COLUMN) or path)
        values = tuple(_one_line(row.values[name]) for name in columns)
        yield Input(_one_line(path), str(where), int(frame) if frame else None, _no_file(where), values)


def _expanded(item: Input) -> list[Input]:
    """An image for each frame, slice or row of a file that has several."""
    if item.frame is not None or item.problem is not None:
        return [item]
    file = Path(item.file)
    if suffix_of(file.name) == _ARCHIVE:
        return _archived(item, file)
    source = Manifest(file.parent, (Record(item.path, "", file=item.file),))
    with gathered():  # what is wrong with a file is said by whoever reads it
        records = expand_files(source, "expand").records
    return [item._replace(path=record.path, frame=record.frame) for record in records]


def _archived(item: Input, file: Path) -> list[Input]:
    from medimg.data.medmnist import check_images
    from medimg.data.readers.npz import image_members, row_names

    try:
        images = image_members(file)
        for member in images.values():
            check_images(file, member)
    except RequestError as error:
        return [item._replace(problem=str(error))]
    names = [name for split, member in images.items() for name in row_names(split, member)]
    # without a row: reading it says what an archive has to hold
    return [item._replace(path=f"{item.path}#{name}", frame=row) for row, name in enumerate(names)] or [item]


def _one_line(text: str) -> str:
    """A file's name as text, whatever bytes it is made of."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", lambda found: found[0].encode("unicode_escape").decode(), text)
