"""The cache as a run uses it: which folder, how much may be kept, and tables opened where there is room for them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medimg.data.cache.choose import choose
from medimg.data.cache.entries import Kind, key_of, make_room, open_entry, taken
from medimg.data.cache.rows import DiskRows, MemoryRows, Rows

log = logging.getLogger(__name__)


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
            RequestError: there is no room for what `data.cache` asks for by name.
        """
        whole = number * int(np.prod(shape)) * itemsize
        folder = self.folder / kind / key_of(depends_on)
        where, why = choose(self.mode, whole, self.folder, self.limit, taken(folder))
        if where == "disk":
            try:
                make_room(self.folder, whole, self.limit, keep=folder)
                rows = DiskRows(open_entry(self.folder, kind, depends_on, about), number, shape)
            except OSError as error:
                log.warning("%s cannot be cached in %s (%s)", kind, self.folder, error.strerror or error)
                return None
            log.info("%s are cached in %s", kind, folder)
            return rows
        if where == "memory":
            log.info("%s are cached in memory: %s", kind, why)
            return MemoryRows()
        log.info("%s are not cached: %s", kind, why)
        return None
