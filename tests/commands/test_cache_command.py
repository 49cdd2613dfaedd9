"""What `medimg cache` shows, removes and refuses."""

import errno
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from medimg.cli import main
from medimg.data.cache.contents import HELD
from medimg.data.cache.entries import Kind, entries, open_entry
from medimg.data.cache.in_use import _held, hold
from medimg.data.cache.rows import DiskRows
from medimg.files import write_bytes

DAY = "2024-03-05 12:00"


def table(cache: Path, kind: Kind, name: str, rows: int, size: int) -> Path:
    about = {"name": name, "rows": rows, "shape": [1, size]}
    folder = open_entry(cache, kind, {"name": name}, about)
    written = DiskRows(folder, rows, (1, size))
    for row in range(rows):
        written.put(row, np.full((1, size), row, dtype=np.uint8))
    used = time.mktime(time.strptime(DAY, "%Y-%m-%d %H:%M"))
    os.utime(folder / "about.json", (used, used))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two tables, of 2 MB and 1 MB, the thumbnails of a data set, and a file of the user's own."""
    folder = tmp_path / "kept here"
    monkeypatch.setenv("MEDIMG_CACHE", str(folder))
    table(folder, "images", "/data/xrays", 2, 1_000_000)
    table(folder, "features", "ResNet on /data/xrays", 10, 100_000)
    write_bytes(folder / "signatures" / "0123456789abcdef.npz", bytes(2_500_000))
    write_bytes(folder / "signatures" / "mine.npz", bytes(300_000))
    return folder


def said(capsys: pytest.CaptureFixture[str], *given: str, code: int = 0) -> str:
    assert main(["cache", *given]) == code
    out, err = capsys.readouterr()
    assert (err == "") == (code == 0)
    return out or err


def test_the_table(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys).splitlines()
    assert lines[0] == str(cache)
    rows = {line.split()[0]: re.split(r"\s{2,}", line) for line in lines[4:-3]}
    assert list(rows) == ["images", "features", "signatures"]
    assert rows["images"] == ["images", "2", "1 x 1000000", "2.0 MB", DAY, "/data/xrays"]
    assert rows["features"] == ["features", "10", "1 x 100000", "1.0 MB", DAY, "ResNet on /data/xrays"]
    assert rows["signatures"][1:3] == ["1", "2.5 MB"]
    assert lines[-2].startswith("images and features: 3.0 MB of 50.0 GB (data.cache_limit")
    assert lines[-1].startswith("in all: 5.5 MB")


def test_one_kind(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = said(capsys, "kind=features")
    assert "ResNet" in shown
    assert "signatures" not in shown
    assert shown.splitlines()[-2].startswith("images and features: 3.0 MB of 50.0 GB")
    assert shown.splitlines()[-1] == "features in all: 1.0 MB; medimg cache clear=true kind=features removes them"
    assert "nothing is kept of phantoms" in said(capsys, "kind=phantoms")


def test_clearing(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "1.0 MB freed (features)" in said(capsys, "clear=true", "kind=features")
    assert [entry.kind for entry in entries(cache)] == ["images"]
    assert "4.5 MB freed (images, signatures)" in said(capsys, "clear=true")
    assert [path.name for path in cache.rglob("*") if path.is_file()] == ["mine.npz"]
    assert said(capsys) == f"{cache}: nothing is kept\n"
    assert said(capsys, "clear=true") == f"{cache}: nothing is removed\n"


def test_the_help_says_what_the_kinds_are(capsys: pytest.CaptureFixture[str]) -> None:
    lines = {line.split()[0]: line for line in said(capsys, "--help").partition("Kinds:")[2].splitlines() if line}
    assert set(HELD) <= lines.keys()
    assert "data.on_error=skip" in lines["readable"] and "thumbnails" in lines["signatures"]


def test_the_folder_of_another_user(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "rename", refuse)
    shown = said(capsys, "clear=true", code=2)
    assert f"{cache} cannot be emptied" in shown and "paths.cache" in shown
    assert "Errno" not in shown and ".removed" not in shown


def test_only_true_clears(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "clear=false")
    assert "clear=yes" in said(capsys, "clear=yes", code=2)
    assert len(entries(cache)) == 2


def test_what_is_in_use_is_named_and_stays(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = cache / "phantoms" / "ct-0123456789ab"
    drawn.mkdir(parents=True)
    assert hold(drawn)
    try:
        shown = said(capsys, "clear=true")
    finally:
        os.close(_held.pop(drawn))
    assert f"{drawn} stays" in shown
    assert "(features, images, signatures)" in shown
    assert drawn.is_dir()
    assert "stays" not in said(capsys, "clear=true")
    assert not drawn.exists()


def test_another_folder(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "a=b, c"
    table(other, "images", "others", 1, 10)
    assert "others" in said(capsys, f"paths.cache={other}")
    said(capsys, f"paths.cache={other}", "clear=true")
    assert entries(other) == []
    assert len(entries(cache)) == 2


def test_no_folder_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for given in ([], ["clear=true"]):
        assert f"{tmp_path}/none: there is no such folder" in said(capsys, f"paths.cache={tmp_path}/none", *given)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["kind=featurs"], ["kind=featurs", "'features'", "images"]),
        (["claer=true"], ["'claer'", "'clear'", "paths.cache"]),
        (["clear=3"], ["clear=3", "true"]),
        (["kind=images,features"], ["kind=images,features", "one value"]),
        (["clear"], ["clear", "KEY=VALUE"]),
        (["paths.cache="], ["paths.cache= names nothing"]),
        (["paths.cache=file"], ["file is no folder", "MEDIMG_CACHE"]),
        (["paths.runs=x"], ["'paths.runs'", "paths.cache"]),
        (["--foo"], ["--foo"]),
    ],
)
def test_what_is_wrong_is_said(
    given: list[str],
    named: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("", encoding="utf-8")
    answer = said(capsys, *given, code=2)
    assert answer.startswith("medimg: error: ")
    for words in named:
        assert words in answer


def test_torch_is_not_loaded(cache: Path) -> None:
    """In a process of its own, as the tests here have loaded torch long ago."""
    program = (
        "import sys\n"
        "from medimg.cli import main\n"
        "heavy = {'torch', 'lightning', 'sklearn', 'scipy', 'numpy', 'matplotlib'}\n"
        "codes = [main(['cache']), main(['cache', 'clear=true'])]\n"
        "print(codes, sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[0, 0] []"
    assert entries(cache) == []
