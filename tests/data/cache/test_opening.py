"""A run's cache: what is opened where, what is said of it, and what happens where it cannot be."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medimg.data.cache import choose
from medimg.data.cache.entries import entries
from medimg.data.cache.opening import Cache
from medimg.data.cache.rows import DiskRows, MemoryRows, Rows
from medimg.errors import RequestError


def opened(cache: Cache, name: str = "a", number: int = 10) -> Rows | None:
    about = {"name": name, "rows": number, "shape": [1000]}
    return cache.open("images", {"name": name}, about, number=number, shape=(1000,), itemsize=1)


def names(folder: Path) -> list[str]:
    return sorted(entry.about["name"] for entry in entries(folder))


@pytest.mark.parametrize(("mode", "kind"), [("none", type(None)), ("disk", DiskRows), ("memory", MemoryRows)])
def test_where_it_is_kept_is_said(tmp_path: Path, mode: Any, kind: type, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert type(opened(Cache(tmp_path / "cache", mode))) is kind
    assert {"none": "not cached", "disk": str(tmp_path / "cache"), "memory": "in memory"}[mode] in caplog.text
    assert (tmp_path / "cache").exists() == (mode == "disk")


def test_a_new_table_drives_out_the_longest_unused(tmp_path: Path) -> None:
    cache = Cache(tmp_path, "disk", limit=40_000)
    for name in "abc":
        rows = opened(cache, name)
        assert rows is not None
        for row in range(10):
            rows.put(row, np.full(1000, row, dtype=np.uint8))
    assert names(tmp_path) == ["b", "c"] or names(tmp_path) == ["c"]
    assert sum(entry.size for entry in entries(tmp_path)) <= 40_000 + 10_000


def test_a_table_that_is_full_needs_no_more_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path, "disk")
    rows = opened(cache)
    assert rows is not None
    for row in range(10):
        rows.put(row, np.ones(1000, dtype=np.uint8))
    monkeypatch.setattr(choose, "free_disk", lambda folder: 100)
    again = opened(cache)
    assert again is not None and again.get(9) is not None
    with pytest.raises(RequestError, match="cache_limit"):
        opened(cache, "other", number=100)


def test_a_folder_that_cannot_be_used_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert opened(Cache(tmp_path / "file", "disk")) is None
    assert "cannot be cached" in caplog.text
    assert str(tmp_path / "file") in caplog.text
