"""How much memory is free, by files as a machine, a container or a cluster has them."""

import os
from pathlib import Path

import pytest

from medimg.data.cache import memory
from medimg.data.cache.memory import free_memory, processes

NO_LIMIT_1 = "9223372036854771712"


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With 8192 bytes available and no group; 300 pages of 4096 bytes in all."""
    monkeypatch.setattr(memory, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 300, "SC_PAGE_SIZE": 4096}.__getitem__)
    write(tmp_path, {"proc/meminfo": "MemTotal: 16 kB\nMemFree: 2 kB\nMemAvailable: 8 kB\n"})
    return tmp_path


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="ascii")


def group(place: str, limit: object, used: object, version: int = 2) -> dict[str, str]:
    names = ("memory.max", "memory.current") if version == 2 else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    return {f"cgroup/{place}/{name}": f"{value}\n" for name, value in zip(names, (limit, used), strict=True)}


def of(*lines: str) -> dict[str, str]:
    return {"proc/self/cgroup": "".join(f"{line}\n" for line in lines)}


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 8192),
        (of("0::/") | group("", "max", 5), 8192),
        (of("0::/") | group("", 6000, 5000), 1000),
        (of("0::/") | group("", 6000, 7000), 0),
        (of("0::/") | group("", "6000", "damaged"), 8192),
        (of("0::/job/step") | group("job/step", "max", 5) | group("job", 6000, 5500), 500),
        (of("0::/job/step") | group("job/step", 900, 600) | group("job", 6000, 5500), 300),
        (of("0::/job/step") | group("other", 10, 10), 8192),
        (of("3:cpu:/a", "5:memory:/a/b", "0::/x") | group("memory/a", 7000, 10, 1), 6990),
        (of("5:hugetlb,memory:/a/b") | group("memory/a/b", NO_LIMIT_1, 10, 1) | group("memory", 50, 10, 1), 40),
        (of("5:memory:/not/seen/in/here") | group("memory", 50, 10, 1), 40),
        (of("5:memory:/a:b") | group("memory/a:b", 50, 10, 1), 40),
        (of("3:cpu:/a") | group("a", 50, 10) | group("memory/a", 50, 10, 1), 8192),
    ],
)
def test_the_smallest_room_of_all_groups(system: Path, files: dict[str, str], free: int) -> None:
    write(system, files)
    assert free_memory() == free


@pytest.mark.parametrize("content", [None, "", "MemTotal: 16 kB\nMemFree: 2 kB\n"])
def test_half_of_all_where_nothing_says_what_is_free(system: Path, content: str | None) -> None:
    (system / "proc/meminfo").unlink()
    if content is not None:
        write(system, {"proc/meminfo": content})
    assert free_memory() == 300 * 4096 // 2
    write(system, of("0::/") | group("", 6000, 5000))
    assert free_memory() == 1000


def test_a_system_that_tells_nothing(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (system / "proc/meminfo").unlink()
    monkeypatch.delattr(os, "sysconf")
    assert 10**9 < free_memory() < 10**10


def test_this_machine_has_memory() -> None:
    assert 0 < free_memory() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("environment", "number"),
    [
        ({}, 1),
        ({"LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}, 4),
        ({"WORLD_SIZE": "2"}, 2),
        ({"MEDIMG_JOBS": "3"}, 3),
        ({"MEDIMG_JOBS": "3", "LOCAL_WORLD_SIZE": "2"}, 6),
        ({"MEDIMG_JOBS": "", "LOCAL_WORLD_SIZE": "0", "WORLD_SIZE": "many"}, 1),
    ],
)
def test_processes_that_share_it(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], number: int) -> None:
    for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE", "MEDIMG_JOBS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert processes() == number
