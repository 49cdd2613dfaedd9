"""A reader finds the old content or the new, whatever goes wrong while writing."""

import csv
import json
import math
import os
import shutil
import stat
from pathlib import Path

import pytest

from medimg.files import link, replaced, write_json, write_table, write_text


def test_text_arrives_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "text.txt"
    write_text(file, "Größe\r\n肺\n")
    assert file.read_bytes() == "Größe\r\n肺\n".encode()
    assert [path.name for path in file.parent.iterdir()] == ["text.txt"]


@pytest.mark.parametrize("broken", ["fsync", "replace", "write"])
def test_the_old_content_stays_where_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    file = tmp_path / "run.json"
    write_text(file, "old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    if broken == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif broken == "replace":
        monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises((OSError, UnicodeEncodeError)):
        write_text(file, "new \ud800" if broken == "write" else "new")  # a lone surrogate cannot be encoded
    assert file.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_kill_in_the_middle_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_text(tmp_path / "a", "new")
    assert not list(tmp_path.iterdir())


def test_files_are_readable_by_others_as_the_user_set_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "")
        assert os.umask(0o027) == 0o027, "the umask is left as it was"
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_json_has_null_where_a_number_is_not_defined(tmp_path: Path) -> None:
    content = {"a": math.nan, "b": [math.inf, 1.5, {"c": -math.inf}], "d": (1, math.nan), "é": None, "t": True}
    write_json(tmp_path / "a.json", content)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    expected = {"a": None, "b": [None, 1.5, {"c": None}], "d": [1, None], "é": None, "t": True}
    assert json.loads(text, parse_constant=refuse) == expected
    assert "é" in text


def test_table_keeps_every_digit_and_every_character(tmp_path: Path) -> None:
    rows = [["a,b", 0.1 + 0.2, None], ['say "hi"', 1e-300, "two\nlines"]]
    write_table(tmp_path / "t.csv", ["name", "value", "note"], rows)
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as stream:
        read = list(csv.reader(stream))
    assert read[0] == ["name", "value", "note"]
    assert [(row[0], float(row[1]), row[2]) for row in read[1:]] == [
        ("a,b", 0.1 + 0.2, ""),
        ('say "hi"', 1e-300, "two\nlines"),
    ]


def test_what_is_written_beside_takes_the_place_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "new" / "model.onnx"
    for content in ("first", "second"):
        with replaced(file) as unfinished:
            assert unfinished.suffix == ".onnx" and unfinished.parent == file.parent
            unfinished.write_text(content)
            assert not file.exists() or file.read_text() == "first"
        assert file.read_text() == content
    with pytest.raises(ZeroDivisionError), replaced(file) as unfinished:
        unfinished.write_text("half")
        raise ZeroDivisionError
    with pytest.raises(FileNotFoundError), replaced(file):
        pass  # nothing was written
    assert file.read_text() == "second"
    assert [path.name for path in file.parent.iterdir()] == ["model.onnx"]


def test_what_a_kill_has_left_of_a_link_is_not_written_into(tmp_path: Path) -> None:
    """Process numbers come again, and the name that is left may be one of a file that others share."""
    shared = tmp_path / "shared"
    shared.write_text("theirs")
    os.link(shared, tmp_path / f".mine.{os.getpid()}.pt")
    with replaced(tmp_path / "mine.pt") as unfinished:
        unfinished.write_text("ours")
    assert shared.read_text() == "theirs"


@pytest.mark.parametrize("links", [True, False])
def test_a_second_name_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "no hard links here")

    source, file = tmp_path / "a", tmp_path / "new" / "b"
    source.write_text("first")
    if not links:
        monkeypatch.setattr(os, "link", refuse)
    for content in ("first", "second"):
        source.unlink()
        source.write_text(content)
        link(source, file)
        assert file.read_text() == content and file.samefile(source) == links
    shutil.rmtree(tmp_path / "new")
    with pytest.raises(FileNotFoundError):
        link(tmp_path / "gone", file)
    assert not list(file.parent.iterdir())
