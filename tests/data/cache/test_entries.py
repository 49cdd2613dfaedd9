"""The tables of the cache folder: their names, and which are removed where room is needed."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medimg.data.cache.entries import default_cache, entries, gigabytes, key_of, make_room, open_entry, remove, taken
from medimg.data.cache.rows import DiskRows

NOW = 1_700_000_000.0
KEEP = Path("nowhere")


def table(cache: Path, name: str, *, size: int = 100_000, used: float = NOW, kind: Any = "images") -> Path:
    """A table of random bytes, last used at some time."""
    folder = open_entry(cache, kind, {"name": name}, {"name": name, "rows": 1, "shape": [size]})
    DiskRows(folder, 1, (size,)).put(0, np.random.default_rng(0).integers(0, 256, size).astype(np.uint8))
    os.utime(folder / "about.json", (used, used))
    return folder


def names(cache: Path) -> list[str]:
    return [str(entry.about.get("name")) for entry in entries(cache)]


def test_the_key_is_of_content_and_not_of_order() -> None:
    one = {"a": [1, 2], "b": {"c": None, "d": 0.1}}
    assert key_of(one) == key_of({"b": {"d": 0.1, "c": None}, "a": (1, 2)})
    for other in ({**one, "a": [2, 1]}, {**one, "b": {"c": None, "d": 0.10000001}}, {**one, "e": None}):
        assert key_of(other) != key_of(one)


def test_a_table_says_what_it_is(tmp_path: Path) -> None:
    folder = open_entry(tmp_path, "features", {"trunk": "x"}, {"name": "ResNet", "rows": 3, "shape": [8]})
    assert folder.parent == tmp_path / "features"
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    assert about == {"name": "ResNet", "rows": 3, "shape": [8], "depends_on": {"trunk": "x"}}
    (entry,) = entries(tmp_path)
    assert (entry.folder, entry.kind, entry.about) == (folder, "features", about)
    assert time.time() - entry.used < 60
    assert open_entry(tmp_path, "features", {"trunk": "y"}, {}) != folder


def test_opening_counts_as_use(tmp_path: Path) -> None:
    table(tmp_path, "a", used=NOW)
    table(tmp_path, "b", used=NOW + 1)
    assert names(tmp_path) == ["a", "b"]
    open_entry(tmp_path, "images", {"name": "a"}, {"name": "changed"})
    assert names(tmp_path) == ["b", "a"]


def test_the_longest_unused_make_room_whatever_their_kind(tmp_path: Path) -> None:
    table(tmp_path, "new", used=NOW + 3)
    table(tmp_path, "oldest", used=NOW, kind="features")
    table(tmp_path, "old", used=NOW + 1)
    table(tmp_path, "middle", used=NOW + 2, kind="features")
    each = entries(tmp_path)[0].size
    assert 100_000 <= each < 150_000
    make_room(tmp_path, each, 5 * each, KEEP)
    assert len(names(tmp_path)) == 4, "there was room already"
    make_room(tmp_path, each, 5 * each - 1, KEEP)
    assert names(tmp_path) == ["old", "middle", "new"]
    make_room(tmp_path, each, 2 * each, KEEP)
    assert names(tmp_path) == ["new"]
    make_room(tmp_path, 2 * each, each, KEEP)
    assert names(tmp_path) == []


def test_the_table_that_asks_is_kept_and_not_counted_twice(tmp_path: Path) -> None:
    mine = table(tmp_path, "mine", used=NOW)
    table(tmp_path, "other", used=NOW + 1)
    each = entries(tmp_path)[0].size
    make_room(tmp_path, each, 2 * each, mine)
    assert names(tmp_path) == ["mine", "other"]
    make_room(tmp_path, each, each, mine)
    assert names(tmp_path) == ["mine"]


def test_what_is_removed_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = table(tmp_path, "a")
    with caplog.at_level("INFO"):
        make_room(tmp_path, 1, 1, KEEP)
    assert str(folder) in caplog.text
    assert "longest unused" in caplog.text


def test_a_damaged_table_makes_room_like_others(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"[1]", b"\xff{")):
        (table(tmp_path, str(number)) / "about.json").write_bytes(content)
    (table(tmp_path, "gone") / "about.json").unlink()
    assert names(tmp_path) == ["None"] * 4
    make_room(tmp_path, 1, 1, KEEP)
    assert entries(tmp_path) == []
    assert not list((tmp_path / "images").iterdir())


def test_what_is_no_table_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "images" / "holidays" / "one.png"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(bytes(100_000))
    assert entries(tmp_path) == []
    make_room(tmp_path, 1, 1, KEEP)
    assert mine.is_file()


def test_removals_that_were_killed_are_finished(tmp_path: Path) -> None:
    left = tmp_path / "features" / ".removed-x-1-2"
    table(tmp_path, "a", kind="features").rename(left)
    assert entries(tmp_path) == []
    make_room(tmp_path, 1, 10**9, KEEP)
    assert not left.exists()


def test_removing_what_is_gone(tmp_path: Path) -> None:
    remove(tmp_path / "images" / "gone")
    assert taken(tmp_path / "images") == 0


def test_a_removed_table_is_made_anew_beside_who_still_has_it(tmp_path: Path) -> None:
    old = DiskRows(table(tmp_path, "a"), 1, (100_000,))
    make_room(tmp_path, 1, 1, KEEP)
    new = DiskRows(open_entry(tmp_path, "images", {"name": "a"}, {}), 1, (100_000,))
    assert old.get(0) is not None
    assert new.get(0) is None


def test_several_open_a_table_at_once(tmp_path: Path) -> None:
    def opened(_: int) -> Path:
        return open_entry(tmp_path, "images", {"a": 1}, {"name": "a"})

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(opened, range(40)))) == 1
    program = (
        "import sys; from pathlib import Path; from medimg.data.cache.entries import open_entry\n"
        "for n in range(200): open_entry(Path(sys.argv[1]), 'images', {'n': n}, {'name': str(n)})"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path)]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert sorted(names(tmp_path)) == sorted(["a", *map(str, range(200))])


def test_sizes_in_words() -> None:
    assert [gigabytes(size) for size in (0, 4096, 25e6, 1e9, 49.96e9)] == [
        "0.0 kB",
        "4.1 kB",
        "25.0 MB",
        "1.0 GB",
        "50.0 GB",
    ]


def test_the_folder_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, found in [("~/c", tmp_path / "c"), ("", tmp_path / ".cache/medimg"), ("/c", Path("/c"))]:
        monkeypatch.setenv("MEDIMG_CACHE", given)
        assert default_cache() == found
