"""Rows of numbers, kept on disk or in memory, that several threads and processes fill and read at once.

On disk a table is a folder with a file of rows for each dtype, and an index of 8 bytes a row: which dtype, and the
CRC-32 of the content. Files are sparse, so rows that nobody needs take no room. A row is written before its place in
the index, and every process checks each row once; one that was cut off by a kill or a power cut counts as not there.
The index is locked for as long as a table is open, so that it is not removed to make room.
"""

import errno
import os
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medimg.data.cache.entries import DTYPES, INDEX, rows_file
from medimg.data.cache.locks import is_at, share

_DTYPES: tuple[np.dtype[Any], ...] = tuple(map(np.dtype, DTYPES))
_CODES = {dtype: code for code, dtype in enumerate(_DTYPES, start=1)}  # 0 is a row that is not there
_INDEX = np.dtype([("code", "<u4"), ("crc", "<u4")])
_SYSTEM = ("pread", "preadv", "pwrite")  # Windows has none of them


class Rows(Protocol):
    """A table of rows of one shape."""

    def get(self, row: int) -> NDArray[Any] | None:
        """The row as an array of its own; None where it is not there."""

    def gather(self, rows: Sequence[int]) -> NDArray[Any] | None:
        """All of them as one array [B, ...]; None where one is not there, or they are not of one dtype."""

    def has(self, row: int) -> bool:
        """Whether the row is there, as far as can be told without reading it."""

    def put(self, row: int, content: NDArray[Any]) -> None:
        """Keeps a row; who writes it twice writes the same."""


class MemoryRows:
    """Rows of this process alone."""

    def __init__(self) -> None:
        self._rows: dict[int, NDArray[Any]] = {}

    def get(self, row: int) -> NDArray[Any] | None:
        """The array that was put there; it must not be changed."""
        return self._rows.get(row)

    def gather(self, rows: Sequence[int]) -> NDArray[Any] | None:
        """A copy."""
        found = [row for row in map(self._rows.get, rows) if row is not None]
        alike = len(found) == len(rows) and len({row.dtype for row in found}) == 1
        return np.stack(found) if alike else None

    def has(self, row: int) -> bool:
        """Whether an array was put there."""
        return row in self._rows

    def put(self, row: int, content: NDArray[Any]) -> None:
        """Keeps the array itself."""
        self._rows[row] = content


class DiskRows:
    """Rows in a folder.

    They are read into arrays of their own and not mapped: mapped pages would count as memory of each process, and
    reading is as fast, since the system keeps the pages of files that are used.

    Args:
        folder: made where it is not there.
        number: of rows.
        shape: of each row.

    Raises:
        FileNotFoundError: another process has just removed the folder.
        OSError: the folder cannot be made or opened.
    """

    def __init__(self, folder: Path, number: int, shape: tuple[int, ...]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.shape = shape
        # all are opened now, so that the rows survive the folder's being removed
        self._index_file = _opened(folder / INDEX, number * _INDEX.itemsize)
        share(self._index_file)
        if not is_at(self._index_file, folder / INDEX):
            raise FileNotFoundError(errno.ENOENT, "it was removed just now", str(folder))
        self._files = {code: _opened(folder / rows_file(dtype.name)) for dtype, code in _CODES.items()}
        self._index: NDArray[Any] = np.zeros(number, dtype=_INDEX)
        self._load_index()
        self._checked, self._damaged = np.zeros((2, number), dtype=bool)

    def get(self, row: int) -> NDArray[Any] | None:
        """The row, where it is there whole and can be read; a network file system may lose what is open."""
        found = self.gather([row])
        return None if found is None else found[0]

    def gather(self, rows: Sequence[int]) -> NDArray[Any] | None:
        """The rows, each read into its place; the first that is damaged ends it."""
        codes = {self._entry(row)[0] for row in rows}
        if len(codes) != 1 or 0 in codes:
            return None
        (code,) = codes
        found = np.empty((len(rows), *self.shape), dtype=_DTYPES[code - 1])
        content = found.reshape(len(rows), -1).view(np.uint8)
        whole = all(self._fill(row, code, place.data) for row, place in zip(rows, content, strict=True))
        return found if whole else None

    def has(self, row: int) -> bool:
        """Whether the index names the row, and this process has not found it damaged."""
        return not self._damaged[row] and self._entry(row)[0] > 0

    def put(self, row: int, content: NDArray[Any]) -> None:
        """Writes a row, and then its place in the index.

        Raises:
            OSError: the disk is full, or the like.
        """
        if content.shape != self.shape:
            raise ValueError(f"a row of shape {content.shape} does not go into a table of {self.shape}")
        code = _CODES[content.dtype]
        view = np.ascontiguousarray(content).reshape(-1).view(np.uint8).data
        _write(self._files[code], view, row * content.nbytes)
        entry = np.array([(code, zlib.crc32(view))], dtype=_INDEX)
        _write(self._index_file, memoryview(entry.tobytes()), row * _INDEX.itemsize)
        self._index[row] = entry[0]
        self._checked[row], self._damaged[row] = True, False

    def __del__(self) -> None:
        for descriptor in [*getattr(self, "_files", {}).values(), getattr(self, "_index_file", -1)]:
            with suppress(OSError):
                os.close(descriptor)

    def _fill(self, row: int, code: int, place: memoryview) -> bool:
        """Reads a row; False where it is not there whole."""
        whole = self._read(code, place, row * place.nbytes)
        if whole and not self._checked[row]:
            whole = self._checked[row] = zlib.crc32(place) == self._index[row]["crc"]
            if not whole:
                self._forget(row)
        self._damaged[row] = not whole
        if not whole:
            self._index[row] = 0  # so that it is looked up again: another process may mend it
        return bool(whole)

    def _forget(self, row: int) -> None:
        """Takes a row whose content is another one out of the index on disk: the next process is to make it again."""
        with suppress(OSError):
            _write(self._index_file, memoryview(bytes(_INDEX.itemsize)), row * _INDEX.itemsize)

    def _entry(self, row: int) -> tuple[int, int]:
        """The place of a row in the index; another process may just have filled it."""
        if not self._index[row]["code"]:
            found = b""
            with suppress(OSError):
                found = os.pread(self._index_file, _INDEX.itemsize, row * _INDEX.itemsize)
            self._index[row] = np.frombuffer(found.ljust(_INDEX.itemsize, b"\0"), dtype=_INDEX)[0]
        code, crc = self._index[row].tolist()
        return (code, crc) if code <= len(_DTYPES) else (0, 0)

    def _read(self, code: int, view: memoryview, offset: int) -> bool:
        """Whether there was as much as there should be."""
        try:
            return os.preadv(self._files[code], [view], offset) == view.nbytes
        except OSError:
            return False

    def _load_index(self) -> None:
        found = os.pread(self._index_file, self._index.nbytes, 0)
        self._index[:] = np.frombuffer(found, dtype=_INDEX, count=len(self._index))


def filled(folder: Path, number: int) -> int:
    """How many of so many rows the table of a folder has, by its index; none where there is no table."""
    try:
        return int(np.count_nonzero(np.fromfile(folder / INDEX, dtype=_INDEX, count=number)["code"]))
    except OSError:
        return 0


def require_system() -> None:
    """What `DiskRows` needs.

    Raises:
        OSError: the system does not have it.
    """
    if lacking := [name for name in _SYSTEM if not hasattr(os, name)]:
        raise OSError(errno.ENOSYS, f"this system has no {lacking[0]}")


def _opened(file: Path, size: int = 0) -> int:
    """A file that is read and written, with at least so many bytes."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    if os.fstat(descriptor).st_size < size:
        os.ftruncate(descriptor, size)
    return descriptor


def _write(file: int, content: memoryview, offset: int) -> None:
    while content:
        written = os.pwrite(file, content, offset)
        content, offset = content[written:], offset + written
