"""A run's cache: what is opened where, what is said of it, and what happens where it cannot be."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medimg.data.cache import choose, opening, rows
from medimg.data.cache.entries import entries, open_entry, remove
from medimg.data.cache.locks import share
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


def test_a_table_that_is_full_needs_no_more_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path, "disk")
    rows = opened(cache)
    assert rows is not None
    for row in range(10):
        rows.put(row, np.ones(1000, dtype=np.uint8))
    monkeypatch.setattr(choose, "free_disk", lambda folder: 100)
    again = opened(cache)
    assert again is not None and again.get(9) is not None
    for mode in ("auto", "disk"):
        with caplog.at_level(logging.INFO):
            assert isinstance(opened(Cache(tmp_path, mode, limit=1)), DiskRows), "nothing is added, whatever the limit"
        assert f"10 of 10 images are found in {tmp_path}" in caplog.text
        caplog.clear()
    with pytest.raises(RequestError, match="cache_limit"):
        opened(cache, "other", number=100)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def free(size: int) -> None:
        monkeypatch.setattr(choose, "free_memory", lambda: size)
        monkeypatch.setattr(choose, "processes", lambda: 1)

    return free


def refused(cache: Cache, name: str = "a") -> str:
    with pytest.raises(RequestError) as error:
        opened(cache, name)
    for words in ("data.cache=disk", str(cache.folder), "data.cache_limit", "paths.cache", "data.cache=memory"):
        assert words in str(error.value)
    return str(error.value)


def falls_back(
    cache: Cache, memory: Callable[[int], None], caplog: pytest.LogCaptureFixture, name: str = "a", problem: str = ""
) -> None:
    """To memory where a quarter of what is free is enough for 10 rows of 1000 bytes, else to nothing, and says so."""
    for size, kind, words in [(40_000, MemoryRows, "are cached in memory"), (39_999, type(None), "are not cached")]:
        memory(size)
        caplog.clear()
        with caplog.at_level(logging.INFO):
            assert type(opened(cache, name)) is kind
        assert (problem or f"images cannot be cached in {cache.folder}") in caplog.text
        assert words in caplog.text


def test_a_folder_that_cannot_be_used(
    tmp_path: Path, memory: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    falls_back(Cache(file), memory, caplog, problem=f"{file} is no folder")
    assert len(caplog.messages) == 1 and "has room" not in caplog.text
    refused(Cache(file, "disk"))
    falls_back(Cache(Path("/proc/none")), memory, caplog, problem="/proc takes no files")


def test_tables_in_use_take_the_limit(
    tmp_path: Path, memory: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    """As the images of a run do where its features come next: neither drives out the other."""
    first = opened(Cache(tmp_path, limit=15_000))
    assert isinstance(first, DiskRows)
    falls_back(Cache(tmp_path, limit=15_000), memory, caplog, "b")
    assert "in use" in refused(Cache(tmp_path, "disk", limit=15_000), "b")
    again = opened(Cache(tmp_path, limit=15_000))
    assert isinstance(again, DiskRows), "another job shares what is open"
    assert names(tmp_path) == ["a"]
    del first, again
    assert isinstance(opened(Cache(tmp_path, limit=15_000), "b"), DiskRows)
    assert names(tmp_path) == ["b"]


def test_a_system_that_cannot_read_at_a_place(
    tmp_path: Path, memory: Callable[[int], None], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pread")
    falls_back(Cache(tmp_path), memory, caplog)
    assert "pread" in refused(Cache(tmp_path, "disk"))
    assert not any(tmp_path.iterdir())


def test_a_table_that_is_removed_as_it_is_opened_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real, removed = open_entry, list[Path]()

    def removed_at_first(*given: Any) -> Path:
        folder = real(*given)
        if len(removed) < 2:
            removed.append(folder)
            monkeypatch.setattr(rows, "share", lambda _: remove(folder))
        else:
            monkeypatch.setattr(rows, "share", share)
        return folder

    monkeypatch.setattr(opening, "open_entry", removed_at_first)
    with caplog.at_level(logging.INFO):
        found = opened(Cache(tmp_path, "disk"))
        assert found is not None and len(removed) == 2
        found.put(0, np.zeros(1000, dtype=np.uint8))
        opened(Cache(tmp_path, "disk"))
    assert names(tmp_path) == ["a"]
    said = [message.replace(str(tmp_path), "CACHE") for message in caplog.messages]
    assert said[0].startswith("images are made now and kept in CACHE/images/")
    assert said[1].startswith("1 of 10 images are found in CACHE/images/")
    assert said[1].endswith("; the others are kept there as they are made")
