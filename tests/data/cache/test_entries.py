"""The tables of the cache folder: their names, and which are removed where room is needed."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cached_tables import NOW, names, table

from medimg.data.cache.entries import (
    default_cache,
    entries,
    finish_removals,
    gigabytes,
    key_of,
    open_entry,
    remove,
    taken,
)
from medimg.data.cache.rows import DiskRows


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


@pytest.mark.parametrize("name", ["scan.dcm", "index.dcm", ".hidden", "about.json.bak", "float64.rows", "index/a.dcm"])
def test_a_folder_with_anything_else_in_it_is_no_table(tmp_path: Path, name: str) -> None:
    """With paths.cache=/data, images of others may lie in /data/images/PATIENT, where PATIENT is an MD5."""
    folder = tmp_path / "images" / "0123456789abcdef0123456789abcdef"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(b"x")
    assert entries(tmp_path) == []
    if not (folder / "index").is_dir():
        (folder / "index").touch()
        (folder / "about.json").write_text("{}", encoding="utf-8")
        assert entries(tmp_path) == []
        (folder / name).unlink()
        assert [entry.folder for entry in entries(tmp_path)] == [folder]


def test_all_files_of_a_table_are_known(tmp_path: Path) -> None:
    folder = table(tmp_path, "a")
    assert len(list(folder.iterdir())) == 5
    (folder / ".about.json.x_1a2b3c").touch()  # of a process that was killed as it wrote it
    assert names(tmp_path) == ["a"]


def test_only_removals_of_medimg_are_finished(tmp_path: Path) -> None:
    for name in (".removed-patients", ".removed-2024-05", f".removed-{'0' * 32}-17-123456789"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").touch()
    finish_removals(tmp_path)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == [".removed-2024-05", ".removed-patients"]


def test_removing_what_is_gone(tmp_path: Path) -> None:
    remove(tmp_path / "images" / "gone")
    assert taken(tmp_path / "images") == 0


def test_a_removed_table_is_made_anew_beside_who_still_has_it(tmp_path: Path) -> None:
    old = DiskRows(table(tmp_path, "a"), 1, (100_000,))
    remove(entries(tmp_path)[0].folder)
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
