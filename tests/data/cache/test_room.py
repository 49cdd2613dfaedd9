"""Which tables go where room is needed: the longest unused, and none that is in use or not medimg's."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cached_tables import NOW, names, table

from medimg.data.cache.entries import entries
from medimg.data.cache.room import make_room
from medimg.data.cache.rows import DiskRows

KEEP = Path("nowhere")

HOLDER = """
import sys
from pathlib import Path
from medimg.data.cache.rows import DiskRows
rows = DiskRows(Path(sys.argv[1]), 1, (100_000,))
print("open", flush=True)
sys.stdin.read()
"""


def open_table(folder: Path) -> DiskRows:
    return DiskRows(folder, 1, (100_000,))


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
    make_room(tmp_path, each, each, KEEP)
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


def test_images_of_others_are_left_alone(tmp_path: Path) -> None:
    mine = table(tmp_path, "mine") / "scan.dcm"
    mine.write_bytes(bytes(100_000))
    make_room(tmp_path, 1, 1, KEEP)
    assert mine.is_file()


def test_a_table_that_this_process_has_open_stays_until_it_is_let_go(tmp_path: Path) -> None:
    """And so does one that it has open twice, where one is closed."""
    folder = table(tmp_path, "used")
    table(tmp_path, "unused", used=NOW + 1)
    first, second = open_table(folder), open_table(folder)
    each = entries(tmp_path)[0].size
    make_room(tmp_path, each, 2 * each, KEEP)
    assert names(tmp_path) == ["used"]
    del first
    with pytest.raises(OSError, match="in use"):
        make_room(tmp_path, each, each, KEEP)
    assert names(tmp_path) == ["used"]
    assert second.get(0) is not None
    del second
    make_room(tmp_path, each, each, KEEP)
    assert names(tmp_path) == []


def test_nothing_goes_where_it_would_not_be_enough(tmp_path: Path) -> None:
    rows = open_table(table(tmp_path, "used", used=NOW + 1))
    table(tmp_path, "unused")
    with pytest.raises(OSError, match="in use"):
        make_room(tmp_path, 100_000, 150_000, KEEP)
    assert names(tmp_path) == ["unused", "used"]
    assert rows.has(0)


def test_two_processes_hold_a_table(tmp_path: Path) -> None:
    folder = table(tmp_path, "a")
    command = [sys.executable, "-c", HOLDER, str(folder)]
    jobs = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for job in jobs:
        assert job.stdout is not None
        assert job.stdout.readline() == "open\n"
    for job in jobs:
        with pytest.raises(OSError, match="in use"):
            make_room(tmp_path, 1, 1, KEEP)
        job.kill()
        job.communicate()
    make_room(tmp_path, 1, 1, KEEP)
    assert names(tmp_path) == []


def test_a_forked_process_keeps_what_it_has_opened(tmp_path: Path) -> None:
    """Of what was open before the fork it has the same opening, so that either of the two holds it."""
    mine = table(tmp_path, "mine")
    rows = open_table(mine)
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        own = open_table(table(tmp_path, "own"))
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        os._exit(own.get(0) is None)
    os.read(ready[0], 1)
    del rows
    with pytest.raises(OSError, match="in use"):
        make_room(tmp_path, 1, 1, KEEP)
    assert set(names(tmp_path)) == {"mine", "own"}
    os.write(go[1], b"x")
    assert os.waitpid(child, 0)[1] == 0
    for descriptor in (*ready, *go):
        os.close(descriptor)
    make_room(tmp_path, 1, 1, KEEP)
    assert names(tmp_path) == []


def test_a_table_that_is_being_filled_counts_as_whole(tmp_path: Path) -> None:
    folder = table(tmp_path, "a")
    (folder / "about.json").write_text('{"bytes": 1000000}', encoding="utf-8")
    rows = open_table(folder)
    with pytest.raises(OSError, match=r"1\.0 MB"):
        make_room(tmp_path, 500_000, 1_400_000, KEEP)
    make_room(tmp_path, 500_000, 1_500_000, KEEP)
    del rows
    make_room(tmp_path, 500_000, 1_400_000, KEEP)
    assert len(entries(tmp_path)) == 1, "what nobody fills takes what it takes"


def test_without_locks_nobody_knows_and_all_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    table(tmp_path, "a")
    with pytest.raises(OSError, match="in use"):
        make_room(tmp_path, 1, 1, KEEP)
    assert names(tmp_path) == ["a"]
