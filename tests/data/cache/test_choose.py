"""Where tables are kept, by what there is room for."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from medimg.data.cache import choose as choosing
from medimg.data.cache.choose import choose, choose_off_disk, free_disk
from medimg.errors import RequestError

GB = 10**9
Room = Callable[..., None]


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Room:
    def free(*, disk: int, memory: int) -> None:
        monkeypatch.setattr(choosing, "free_disk", lambda folder: disk * GB)
        monkeypatch.setattr(choosing, "free_memory", lambda: memory * GB)
        monkeypatch.setattr(choosing, "processes", lambda: 1)

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


def test_memory_is_shared_by_the_processes(tmp_path: Path, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room(disk=0, memory=80)
    assert choose("auto", 20 * GB, tmp_path, 50 * GB)[0] == "memory"
    monkeypatch.setattr(choosing, "processes", lambda: 4)
    found, why = choose("auto", 6 * GB, tmp_path, 50 * GB)
    assert found == "none"
    assert "memory for 20.0 GB in each of 4 processes" in why
    assert choose("auto", 5 * GB, tmp_path, 50 * GB)[0] == choose_off_disk(5 * GB)[0] == "memory"
    assert choose_off_disk(6 * GB)[0] == "none"
    assert choose("memory", 20 * GB, tmp_path, 50 * GB)[0] == "memory"
    with pytest.raises(RequestError, match="memory"):
        choose("memory", 21 * GB, tmp_path, 50 * GB)


def test_a_disk_that_tells_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=7 if place == tmp_path else 0))
    assert free_disk(tmp_path / "cache") == 7
