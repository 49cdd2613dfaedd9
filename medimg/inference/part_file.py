"""A table that is written row by row, survives being killed at any moment, and gets its name when it is whole."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from medimg.errors import RequestError
from medimg.files import write_json
from medimg.inference.rows import Row, as_line, from_line
from medimg.runs.lock import take


def refuse_existing(file: Path) -> None:
    """Raises RequestError where the table, or what belongs to it, would be written over something."""
    if file.exists():
        raise RequestError(f"{file} is there already, and is not written over\n  give another output=")


def refuse_unusable(file: Path) -> None:
    """Raises RequestError where a table of this name cannot be written, before anything is computed for it."""
    refuse_existing(file)
    if file.suffix.lower() != ".csv":
        raise RequestError(f"output={file.name}: the table is a CSV, and its name ends in .csv")
    home = next(folder for folder in file.parents if folder.exists())
    if not home.is_dir() or not os.access(home, os.W_OK | os.X_OK):
        raise RequestError(f"output={file}: nothing can be written into {home}\n  give another output=")


class PartFile:
    """Rows on their way to `file`: in `.NAME.part` beside it, and in `.NAME.part.json` what they are the answer to.

    Used in a `with` statement. Only one process at a time can write it.

    Args:
        file: where the table will be.
        header: its columns.
        identity: named digests of all that the rows depend on.
        beside: what else belongs to the table, and must not be there before its first row.

    Raises:
        RequestError: the file is there, or the part of another request, or another process is writing it.
    """

    def __init__(self, file: Path, header: Row, identity: Mapping[str, str], beside: Sequence[Path] = ()) -> None:
        self.file = file
        self._beside = beside
        self.part = file.with_name(f".{file.name}.part")
        self._header = as_line(header)
        self._width = len(header)
        self._identity = dict(identity)
        self._sidecar = file.with_name(f"{self.part.name}.json")

    def __enter__(self) -> Self:
        begun = self.part.is_file() and self.part.stat().st_size > 0
        for path in (self.file, *(() if begun else self._beside)):
            refuse_existing(path)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._stream: BinaryIO = os.fdopen(os.open(self.part, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            self._claim()
        except BaseException:
            self._stream.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def take_up(self, paths: Iterable[str], whole: Callable[[int], int]) -> Iterator[Row]:
        """The rows of before that are kept; whatever follows them is cut off, once all have been asked for.

        Args:
            paths: what the first cells of the rows have to be.
            whole: how many of so many good rows to keep, so that batches begin where they would have.
        """
        self._stream.seek(0)
        good = 0
        if self._stream.readline() == self._header:
            pairs = zip(paths, self._stream, strict=False)
            good = sum(1 for _ in takewhile(lambda pair: self._is_row(*pair), pairs))
        self._stream.seek(0)
        if not good:
            self._stream.write(self._header)
        else:
            self._stream.readline()
            for _ in range(whole(good)):
                yield from_line(self._stream.readline())
        self._stream.truncate(self._stream.tell())

    def append(self, rows: Iterable[Row]) -> None:
        """Writes rows, out of this process."""
        self._stream.write(b"".join(map(as_line, rows)))
        self._stream.flush()

    def finish(self) -> None:
        """Gives the table its name."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        refuse_existing(self.file)
        self.part.replace(self.file)
        self._sidecar.unlink(missing_ok=True)

    def _claim(self) -> None:
        if not take(self._stream):
            raise RequestError(
                f"{self.part} is being written by another process\n  wait for it, or give another output="
            )
        if not self.part.stat().st_size:
            write_json(self._sidecar, self._identity)
            return
        try:
            found = json.loads(self._sidecar.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        if found == self._identity:
            return
        other = [
            name for name, value in self._identity.items() if not isinstance(found, dict) or found.get(name) != value
        ]
        raise RequestError(
            f"{self.part} holds the unfinished rows of another request; it differs in: {', '.join(other)}\n"
            "  the command that began it goes on with it; give another output=, or remove it"
        )

    def _is_row(self, path: str, line: bytes) -> bool:
        row = from_line(line) if line.endswith(b"\n") else []
        return len(row) == self._width and row[0] == path
