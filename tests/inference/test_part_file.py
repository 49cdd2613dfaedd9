"""A table survives any end of its writer, and is never mixed with another one."""

import os
import signal
from pathlib import Path

import pytest

from medimg.errors import RequestError
from medimg.inference.part_file import PartFile
from medimg.inference.rows import Row, as_line

HEADER = ["path", "error"]
PATHS = [f'{number}, "x".png' for number in range(10)]
ROWS = [[path, "broken" if number == 3 else ""] for number, path in enumerate(PATHS)]
WHOLE = as_line(HEADER) + b"".join(map(as_line, ROWS))


def opened(file: Path, **other: str) -> PartFile:
    return PartFile(file, HEADER, {"model": "m", "images": "i"} | other)


def go_on(file: Path, batch: int = 4, stop: int = 10) -> list[Row]:
    """Takes up what is there and writes on, to the end or not; the rows that were there."""
    with opened(file) as part:
        kept = list(part.take_up(PATHS, lambda rows: rows - rows % batch))
        for start in range(len(kept), stop, batch):
            part.append(ROWS[start : start + batch])
        if stop == 10:
            part.finish()
    return kept


def test_in_one_go(tmp_path: Path) -> None:
    file = tmp_path / "new" / "table.csv"
    assert go_on(file) == []
    assert file.read_bytes() == WHOLE
    assert [path.name for path in file.parent.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("cut", range(len(WHOLE) + 1))
def test_cut_at_any_byte(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "table.csv"
    go_on(file, stop=8)
    part = tmp_path / ".table.csv.part"
    part.write_bytes(WHOLE[:cut])
    kept = go_on(file)
    lines = WHOLE[:cut].count(b"\n")
    assert len(kept) == max(0, lines - 1) // 4 * 4
    assert kept == ROWS[: len(kept)]
    assert file.read_bytes() == WHOLE


def test_what_is_no_row_is_written_again(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    go_on(file, stop=8)
    part = tmp_path / ".table.csv.part"
    lines = part.read_bytes().splitlines(keepends=True)
    lines[6] = b"\x00" * len(lines[6])  # as a power cut may leave it
    part.write_bytes(b"".join(lines))
    assert len(go_on(file)) == 4
    assert file.read_bytes() == WHOLE


def test_another_request_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    go_on(file, stop=8)
    before = (tmp_path / ".table.csv.part").read_bytes()
    with pytest.raises(RequestError, match="differs in: model"), opened(file, model="another"):
        pass
    (tmp_path / ".table.csv.part.json").unlink()
    with pytest.raises(RequestError, match="differs in: model, images"), opened(file):
        pass
    assert (tmp_path / ".table.csv.part").read_bytes() == before


def test_a_table_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("mine")
    with pytest.raises(RequestError, match="not written over"), opened(tmp_path / "table.csv"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]


def test_what_belongs_to_it_is_not_written_over_either(tmp_path: Path) -> None:
    file, pictures = tmp_path / "table.csv", tmp_path / "table_maps"
    pictures.mkdir()
    with pytest.raises(RequestError, match="table_maps is there already"), PartFile(file, HEADER, {}, [pictures]):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["table_maps"]
    pictures.rmdir()
    for _ in range(2):  # those of its own are no obstacle to going on
        with PartFile(file, HEADER, {}, [pictures]) as part:
            list(part.take_up(PATHS, lambda rows: rows))
            pictures.mkdir(exist_ok=True)


def test_one_that_appears_meanwhile_neither(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    with opened(file) as part:
        assert list(part.take_up(PATHS, lambda rows: rows)) == []
        file.write_text("mine")
        with pytest.raises(RequestError, match="not written over"):
            part.finish()
    assert file.read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_two_processes_do_not_write_one_table(tmp_path: Path) -> None:
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with opened(tmp_path / "table.csv"):
            os.write(told, b"x")
            signal.pause()
    try:
        os.read(ready, 1)
        with pytest.raises(RequestError, match="another process"), opened(tmp_path / "table.csv"):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert go_on(tmp_path / "table.csv") == []  # released by its death
