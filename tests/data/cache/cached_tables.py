"""Tables of random bytes for the tests of the cache."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from medimg.data.cache.entries import entries, open_entry
from medimg.data.cache.rows import DiskRows

NOW = 1_700_000_000.0


def table(cache: Path, name: str, *, size: int = 100_000, used: float = NOW, kind: Any = "images") -> Path:
    """A table of random bytes, last used at some time."""
    folder = open_entry(cache, kind, {"name": name}, {"name": name, "rows": 1, "shape": [size]})
    DiskRows(folder, 1, (size,)).put(0, np.random.default_rng(0).integers(0, 256, size).astype(np.uint8))
    os.utime(folder / "about.json", (used, used))
    return folder


def names(cache: Path) -> list[str]:
    return [str(entry.about.get("name")) for entry in entries(cache)]
