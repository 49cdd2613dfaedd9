"""The cache as a run uses it: which folder, how much may be kept, and tables opened where there is room for them."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medimg.data.cache.choose import CURES, choose, choose_off_disk
from medimg.data.cache.entries import Kind, key_of, open_entry, taken
from medimg.data.cache.room import make_room
from medimg.data.cache.rows import DiskRows, MemoryRows, Rows, filled, require_system
from medimg.errors import RequestError

log = logging.getLogger(__name__)

_TRIES = 5  # at opening what others may be removing


@dataclass(frozen=True)
class Cache:
    """Where to keep what is computed once.

    `mode` is `data.cache`; `limit` the bytes that all tables in `folder` may take together.
    """

    folder: Path
    mode: Literal["auto", "none", "disk", "memory"] = "auto"
    limit: int = 50 * 10**9

    def open(
        self,
        kind: Kind,
        depends_on: Mapping[str, Any],
        about: Mapping[str, Any],
        *,
        number: int,
        shape: tuple[int, ...],
        itemsize: int,
    ) -> Rows | None:
        """A table for so many rows; None where nothing is kept. What was chosen is logged.

        Args:
            kind: what it holds.
            depends_on: everything that its content depends on, in plain containers.
            about: what `medimg cache` says of it.
            number: of rows.
            shape: of each row.
            itemsize: bytes of each of its values, as far as is known.

        Raises:
            RequestError: what `data.cache` asks for by name has no room, or cannot be written.
        """
        whole = number * int(np.prod(shape)) * itemsize
        folder = self.folder / kind / key_of(depends_on)
        found = filled(folder, number)
        full = found == number
        where, why = choose(self.mode, whole, self.folder, self.limit, taken(folder), full=full)
        if where == "disk":
            try:
                require_system()
                if not full:
                    make_room(self.folder, whole, self.limit, keep=folder)
                rows = _on_disk(self.folder, kind, depends_on, {**about, "bytes": whole}, number, shape)
            except OSError as error:
                where, why = self._instead(kind, whole, error.strerror or str(error))
            else:
                log.info(_told(kind, found, number), folder)
                return rows
        if where == "memory":
            log.info("%s are cached in memory: %s", kind, why)
            return MemoryRows()
        log.info("%s are not cached: %s", kind, why)
        return None

    def _instead(self, kind: Kind, need: int, what: str) -> tuple[Literal["memory", "none"], str]:
        """What is left where the disk was chosen and cannot be had."""
        problem = f"{kind} cannot be cached in {self.folder} ({what})"
        if self.mode == "disk":
            raise RequestError(f"data.cache=disk: {problem}\n  {CURES}")
        log.warning("%s", problem)
        return choose_off_disk(need)


def _told(kind: Kind, found: int, number: int) -> str:
    """The line about a table on disk, whose folder is to be filled in."""
    if not found:
        return f"{kind} are made now and kept in %s"
    rest = "" if found == number else "; the others are kept there as they are made"
    return f"{found} of {number} {kind} are found in %s{rest}"


def _on_disk(
    cache: Path,
    kind: Kind,
    depends_on: Mapping[str, Any],
    about: Mapping[str, Any],
    number: int,
    shape: tuple[int, ...],
) -> DiskRows:
    for _ in range(_TRIES - 1):
        with suppress(FileNotFoundError):
            return DiskRows(open_entry(cache, kind, depends_on, about), number, shape)
    return DiskRows(open_entry(cache, kind, depends_on, about), number, shape)
