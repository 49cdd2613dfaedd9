"""Where tables are kept, by what there is room for."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medimg.data.cache import choose as choosing
from medimg.data.cache.choose import choose, free_disk, free_memory
from medimg.errors import RequestError

GB = 10**9
Room = Callable[..., None]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    def free(*, disk: int, memory: int) -> None:
        monkeypatch.setattr(choosing, "free_disk", lambda folder: disk * GB)
        monkeypatch.setattr(choosing, "free_memory", lambda: memory * GB)

    return free


@pytest.mark.parametrize(
    ("need", "limit", "disk", "memory", "where"),
    [
        (10, 50, 100, 100, "disk"),
        (50, 50, 100, 0, "disk"),
        (51, 50, 1000, 1000, "memory"),  # the limit
        (10, 50, 20, 0, "disk"),
        (11, 50, 20, 100, "memory"),  # half of the disk stays free
        (11, 50, 20, 44, "memory"),
        (11, 50, 20, 43, "none"),  # three quarters of memory stay free
        (60, 50, 1000, 100, "none"),
        (0, 50, 0, 0, "disk"),
    ],
)
def test_auto(tmp_path: Path, room: Room, need: int, limit: int, disk: int, memory: int, where: str) -> None:
    room(disk=disk, memory=memory)
    found, why = choose("auto", need * GB, tmp_path, limit * GB)
    assert found == where
    assert str(tmp_path) in why
    assert f"{need}.0 GB" in why or not need
    assert f"memory for {memory}.0 GB" in why or not memory


def test_what_is_on_disk_already_needs_no_more_room_there(tmp_path: Path, room: Room) -> None:
    room(disk=1, memory=20)
    assert choose("auto", 10 * GB, tmp_path, 50 * GB, there=10 * GB)[0] == "disk"
    assert choose("auto", 10 * GB, tmp_path, 50 * GB, there=9 * GB)[0] == "none"
    assert choose("auto", 10 * GB, tmp_path, 9 * GB, there=10 * GB)[0] == "none", "the limit is of whole tables"
    assert choose("disk", 10 * GB, tmp_path, 50 * GB, there=9 * GB)[0] == "disk"
    with pytest.raises(RequestError, match="memory"):
        choose("memory", 30 * GB, tmp_path, 50 * GB, there=30 * GB)


def test_auto_where_nothing_can_be_written(tmp_path: Path, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room(disk=100, memory=100)
    asked: list[Any] = []
    monkeypatch.setattr(os, "access", lambda *given: asked.append(given))
    assert choose("auto", GB, tmp_path / "not" / "there", 50 * GB)[0] == "memory"
    assert asked == [(tmp_path, os.W_OK)]


def test_what_is_asked_for_by_name(tmp_path: Path, room: Room) -> None:
    room(disk=20, memory=20)
    assert choose("none", 1, tmp_path, 50 * GB) == ("none", "data.cache=none")
    assert choose("disk", 19 * GB, tmp_path, 50 * GB)[0] == "disk"
    assert choose("memory", 19 * GB, tmp_path, 50 * GB)[0] == "memory"


@pytest.mark.parametrize(
    ("mode", "need", "limit", "cure"),
    [
        ("disk", 21, 50, ["data.cache_limit", "paths.cache"]),
        ("disk", 19, 18, ["data.cache_limit"]),
        ("memory", 21, 50, ["data.cache=disk"]),
    ],
)
def test_what_has_no_room_is_refused(
    tmp_path: Path, room: Room, mode: Any, need: int, limit: int, cure: list[str]
) -> None:
    room(disk=20, memory=20)
    with pytest.raises(RequestError) as refused:
        choose(mode, need * GB, tmp_path, limit * GB)
    for words in [f"data.cache={mode}", f"{need}.0 GB", str(tmp_path), *cure]:
        assert words in str(refused.value)


def test_free_disk_is_that_of_the_place(tmp_path: Path) -> None:
    here = shutil.disk_usage(tmp_path).free
    assert free_disk(tmp_path / "not" / "there") == pytest.approx(here, rel=0.05)


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({"meminfo": "MemTotal: 16 kB\nMemFree: 2 kB\nMemAvailable: 8 kB\n"}, 8192),
        ({"meminfo": "MemAvailable: 8 kB\n", "memory.max": "max\n", "memory.current": "5\n"}, 8192),
        ({"meminfo": "MemAvailable: 8 kB\n", "memory.max": "6000\n", "memory.current": "5000\n"}, 1000),
        ({"meminfo": "MemAvailable: 8 kB\n", "memory.max": "6000\n", "memory.current": "7000\n"}, 0),
        ({}, 300 * 4096 // 2),
    ],
)
def test_free_memory(monkeypatch: pytest.MonkeyPatch, files: dict[str, str], free: int) -> None:
    """Of the machine, of its container where that has less, and half of all where neither tells."""

    def read(path: Path, encoding: str) -> str:
        try:
            return files[path.name]
        except KeyError:
            raise FileNotFoundError(path) from None

    monkeypatch.setattr(Path, "read_text", read)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 300, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert free_memory() == free


def test_this_machine_has_memory() -> None:
    assert 0 < free_memory() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_disk_that_tells_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=7 if place == tmp_path else 0))
    assert free_disk(tmp_path / "cache") == 7
