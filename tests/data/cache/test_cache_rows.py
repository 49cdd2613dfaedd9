"""Rows on disk: filled by several processes at once, and never given back damaged."""

import errno
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from medimg.data.cache.entries import remove
from medimg.data.cache.rows import DiskRows, MemoryRows

SHAPE = (3, 4, 5)

# every row goes in again and again, as jobs do that begin at the same time, and is read back in between
WRITER = """
import sys
from pathlib import Path
import numpy as np
from medimg.data.cache.rows import DiskRows

folder, start = Path(sys.argv[1]), int(sys.argv[2])
rows = DiskRows(folder, 200, (50,))
for turn in range(600):
    row = (start + turn) % 200
    content = np.full(50, row, dtype=np.float32)
    found = rows.get(row)
    assert found is None or (found == content).all(), row
    rows.put(row, content)
"""


def noise(dtype: str, seed: int = 0) -> NDArray[Any]:
    values = np.random.default_rng(seed).integers(0, 256, SHAPE)
    return (values / 255).astype(dtype) if dtype == "float32" else values.astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_another_process_finds_what_was_put(tmp_path: Path, dtype: str) -> None:
    written, other = DiskRows(tmp_path, 4, SHAPE), DiskRows(tmp_path, 4, SHAPE)
    written.put(2, noise(dtype))
    for rows in (written, other, DiskRows(tmp_path, 4, SHAPE)):
        found = rows.get(2)
        assert found is not None and found.dtype == dtype
        assert np.array_equal(found, noise(dtype))
        assert [rows.get(row) for row in (0, 1, 3)] == [None] * 3


def test_dtypes_in_one_table(tmp_path: Path) -> None:
    rows = DiskRows(tmp_path, 3, SHAPE)
    for row, dtype in enumerate(("uint8", "float32", "uint16")):
        rows.put(row, noise(dtype, row))
    again = DiskRows(tmp_path, 3, SHAPE)
    for row, dtype in enumerate(("uint8", "float32", "uint16")):
        found = again.get(row)
        assert found is not None and found.dtype == dtype
        assert np.array_equal(found, noise(dtype, row))


@pytest.mark.parametrize("kind", ["disk", "memory"])
def test_rows_come_together_in_the_order_asked_for(tmp_path: Path, kind: str) -> None:
    rows = DiskRows(tmp_path, 5, SHAPE) if kind == "disk" else MemoryRows()
    for row in (0, 1, 3):
        rows.put(row, noise("uint8", row))
    rows.put(4, noise("float32"))
    found = rows.gather([3, 0, 3])
    assert found is not None and found.dtype == np.uint8
    assert np.array_equal(found, np.stack([noise("uint8", row) for row in (3, 0, 3)]))
    found[:] = 0
    again = rows.gather([3])
    assert again is not None and np.array_equal(again[0], noise("uint8", 3)), "what is given is the reader's own"
    assert rows.gather([0, 2]) is None, "one is not there"
    assert rows.gather([0, 4]) is None, "of two dtypes"
    if kind == "disk":
        with (tmp_path / "uint8.rows").open("r+b") as stream:
            stream.write(bytes(SHAPE[0]))
        other = DiskRows(tmp_path, 5, SHAPE)
        assert other.gather([1, 0]) is None, "one is damaged"
        assert other.gather([1, 3]) is not None
        assert (other.has(0), other.get(0)) == (False, None)


def test_what_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    rows = DiskRows(tmp_path, 2, SHAPE)
    with pytest.raises(ValueError, match="shape"):
        rows.put(0, noise("uint8")[:, :2])
    with pytest.raises(KeyError):
        rows.put(0, noise("uint8").astype(np.float64))
    assert rows.get(0) is None


def test_a_row_given_is_the_readers_own(tmp_path: Path) -> None:
    rows = DiskRows(tmp_path, 1, SHAPE)
    rows.put(0, noise("uint8"))
    first = rows.get(0)
    assert first is not None
    first[:] = 0
    assert np.array_equal(rows.get(0), noise("uint8"))  # type: ignore[arg-type]


def test_processes_that_fill_one_table_at_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    writers = [subprocess.Popen([*command, str(start)], stderr=subprocess.PIPE) for start in (0, 67, 134)]
    for writer in writers:
        assert writer.communicate()[1] == b""
        assert writer.returncode == 0
    rows = DiskRows(tmp_path, 200, (50,))
    for row in range(200):
        assert np.array_equal(rows.get(row), np.full(50, row, np.float32))  # type: ignore[arg-type]


@pytest.mark.parametrize("place", [0, 59, 60, 100, 179])
def test_a_flipped_byte_costs_its_row_alone(tmp_path: Path, place: int) -> None:
    rows = DiskRows(tmp_path, 3, SHAPE)
    for row in range(3):
        rows.put(row, noise("uint8", row))
    file = tmp_path / "uint8.rows"
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)
    fresh = DiskRows(tmp_path, 3, SHAPE)
    assert [fresh.get(row) is None for row in range(3)] == [row == place // 60 for row in range(3)]
    fresh.put(place // 60, noise("uint8", place // 60))  # and it can be mended
    assert np.array_equal(DiskRows(tmp_path, 3, SHAPE).get(place // 60), noise("uint8", place // 60))  # type: ignore[arg-type]


@pytest.mark.parametrize("place", range(16))
def test_a_flipped_byte_of_the_index(tmp_path: Path, place: int) -> None:
    rows = DiskRows(tmp_path, 2, SHAPE)
    rows.put(0, noise("uint8", 0))
    rows.put(1, noise("uint8", 1))
    content = bytearray((tmp_path / "index").read_bytes())
    assert len(content) == 16
    content[place] ^= 3
    (tmp_path / "index").write_bytes(content)
    fresh = DiskRows(tmp_path, 2, SHAPE)
    assert [fresh.get(row) is None for row in range(2)] == [place < 8, place >= 8]


@pytest.mark.parametrize("name", ["index", "uint8.rows"])
@pytest.mark.parametrize("left", [0.0, 0.3, 0.5, 0.9])
def test_files_that_were_cut_off(tmp_path: Path, name: str, left: float) -> None:
    rows = DiskRows(tmp_path, 4, SHAPE)
    for row in range(4):
        rows.put(row, noise("uint8", row))
    size = (tmp_path / name).stat().st_size
    with (tmp_path / name).open("r+b") as stream:
        stream.truncate(int(size * left))
    fresh = DiskRows(tmp_path, 4, SHAPE)
    whole = int(left * 4)
    for row in range(whole):
        assert np.array_equal(fresh.get(row), noise("uint8", row))  # type: ignore[arg-type]
    assert [fresh.get(row) for row in range(whole, 4)] == [None] * (4 - whole)


def test_an_index_cut_off_while_it_is_open(tmp_path: Path) -> None:
    rows = DiskRows(tmp_path, 4, SHAPE)
    with (tmp_path / "index").open("r+b") as stream:
        stream.truncate(5)
    assert rows.get(0) is rows.get(3) is None


def test_a_row_that_no_index_names_is_not_there(tmp_path: Path) -> None:
    """As after a kill between the row and its place in the index; a hole's checksum is none of zeros."""
    rows = DiskRows(tmp_path, 2, SHAPE)
    rows.put(0, np.zeros(SHAPE, dtype=np.uint8))
    (tmp_path / "index").write_bytes(bytes(16))
    assert DiskRows(tmp_path, 2, SHAPE).get(0) is None
    entry = np.array([1, zlib.crc32(bytes(60)) ^ 1], dtype="<u4").tobytes()
    (tmp_path / "index").write_bytes(entry + entry)
    assert DiskRows(tmp_path, 2, SHAPE).get(1) is None


def test_rows_that_nobody_needs_take_no_room(tmp_path: Path) -> None:
    rows = DiskRows(tmp_path, 1000, (1000, 100))
    rows.put(900, np.ones((1000, 100), dtype=np.uint8))
    file = (tmp_path / "uint8.rows").stat()
    assert file.st_size == 901 * 100_000
    assert file.st_blocks * 512 < 10 * 100_000


def test_who_has_a_table_open_goes_on_when_it_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "table"
    DiskRows(folder, 3, SHAPE).put(0, noise("uint8"))
    rows = DiskRows(folder, 3, SHAPE)
    remove(folder)
    assert not any(tmp_path.iterdir())
    assert np.array_equal(rows.get(0), noise("uint8"))  # type: ignore[arg-type]
    rows.put(1, noise("float32", 1))
    assert np.array_equal(rows.get(1), noise("float32", 1))  # type: ignore[arg-type]
    assert not folder.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what is open")
def test_open_files_are_given_back(tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for number in range(20):
        DiskRows(tmp_path / str(number), 3, SHAPE).get(0)
    assert descriptors() < before + 5


def test_what_is_there_is_known_without_reading_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, other = DiskRows(tmp_path, 3, SHAPE), DiskRows(tmp_path, 3, SHAPE)
    written.put(1, noise("uint8"))
    monkeypatch.delattr(os, "preadv")
    for rows in (written, other):
        assert [rows.has(row) for row in range(3)] == [False, True, False]


def test_a_damaged_row_is_not_there_until_it_is_put_again(tmp_path: Path) -> None:
    DiskRows(tmp_path, 2, SHAPE).put(0, noise("uint8"))
    file = tmp_path / "uint8.rows"
    file.write_bytes(bytes(60))
    rows, other = DiskRows(tmp_path, 2, SHAPE), DiskRows(tmp_path, 2, SHAPE)
    assert rows.has(0), "it has not been read yet"
    assert rows.get(0) is None
    assert not rows.has(0)
    assert rows.get(0) is None and not rows.has(0)
    assert other.get(0) is None
    rows.put(0, noise("uint8"))
    assert rows.has(0)
    for mended in (rows, other):  # the other finds it where it looks
        assert np.array_equal(mended.get(0), noise("uint8"))  # type: ignore[arg-type]
        assert mended.has(0)


@pytest.mark.parametrize("call", ["preadv", "pread"])
def test_a_file_that_a_network_has_lost_is_a_row_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    written, rows = DiskRows(tmp_path, 2, SHAPE), DiskRows(tmp_path, 2, SHAPE)
    written.put(0, noise("uint8"))

    def lost(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, lost)
        assert rows.get(0) is None
        assert not rows.has(0)
    assert np.array_equal(rows.get(0), noise("uint8"))  # type: ignore[arg-type]
    assert rows.has(0)


def test_memory() -> None:
    rows = MemoryRows()
    assert rows.get(0) is None
    assert not rows.has(0)
    rows.put(0, noise("uint16"))
    assert np.array_equal(rows.get(0), noise("uint16"))  # type: ignore[arg-type]
    assert rows.get(1) is None
    assert [rows.has(row) for row in range(2)] == [True, False]


def test_what_one_process_finds_damaged_the_next_makes_again(tmp_path: Path) -> None:
    rows = DiskRows(tmp_path / "table", 2, (3,))
    rows.put(0, np.array([1, 2, 3], np.uint8))
    with (tmp_path / "table" / "uint8.rows").open("r+b") as file:
        file.write(b"\x09")
    assert DiskRows(tmp_path / "table", 2, (3,)).has(0)
    assert DiskRows(tmp_path / "table", 2, (3,)).get(0) is None
    assert not DiskRows(tmp_path / "table", 2, (3,)).has(0)
