"""What `medimg leaderboard` understands, writes and refuses."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from handmade_runs import write_run

from medimg.cli import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "runs" / "one" / "a", value=0.5)
    write_run(tmp_path / "runs" / "2024_01" / "b", "optimizer=sgd", value=0.6)
    write_run(tmp_path / "else (1), so" / "c", "optimizer=rmsprop", value=0.7)
    return tmp_path


def written(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("leaderboard.*"))


FILES = ["leaderboard.csv", "leaderboard.md", "leaderboard.png"]


def test_all_runs_by_default(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["leaderboard"]) == 0
    said = capsys.readouterr().out
    assert "SGD" in said
    assert "RMSprop" not in said
    assert written(home / "runs") == FILES
    assert "runs/leaderboard.csv" in said


@pytest.mark.parametrize(
    ("given", "shown", "place"),
    [
        (["dir=runs/2024_01"], {"b"}, "runs/2024_01"),
        (["dir=else (1), so"], {"c"}, "else (1), so"),
        (["dir=[runs/one,runs/2024_01]"], {"a", "b"}, "."),
        (["dir=['else (1), so', runs/one]", "output=new/place"], {"c", "a"}, "new/place"),
        (["dir=runs/one/a", "output=2024_01"], {"a"}, "2024_01"),
        (["dir=[runs,runs/one]"], {"a", "b"}, "."),
    ],
)
def test_folders(home: Path, given: list[str], shown: set[str], place: str) -> None:
    assert main(["leaderboard", *given]) == 0
    assert written(home / place) == FILES
    with (home / place / "leaderboard.csv").open(newline="") as stream:
        names = [Path(row["folders"]).name for row in csv.DictReader(stream)]
    assert sorted(names) == sorted(shown)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["dir=nowhere"], ["dir=nowhere", "no such folder"]),
        (["dir=[runs,nowhere]"], ["dir=nowhere", "no such folder"]),
        (["dir=empty"], ["dir=empty", "no run below"]),
        (["dr=runs"], ["'dr'", "'dir'", "output"]),
        (["dir=runs/one,runs/2024_01"], ["dir=[a,b]"]),
        (["output=a,b"], ["output=a,b"]),
        (["dir="], ["dir= names nothing", "a folder with runs"]),
        (["dir=[]"], ["dir= names nothing", "a folder with runs"]),
        (["dir=[runs"], ["dir=[runs", "no end"]),
        (["runs/one"], ["runs/one", "KEY=VALUE"]),
        (["dir=runs", "--foo"], ["--foo"]),
        (["dir=runs", "output=file"], ["file"]),
    ],
)
def test_what_is_wrong_is_said(
    home: Path, given: list[str], named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "empty").mkdir()
    (home / "file").write_text("")
    assert main(["leaderboard", *given]) == 2
    said = capsys.readouterr().err
    assert said.startswith("medimg: error: ")
    assert "Traceback" not in said
    for words in named:
        assert words in said


def test_torch_is_not_loaded(home: Path) -> None:
    """In a process of its own, as the tests here have loaded torch long ago."""
    program = (
        "import sys\n"
        "from medimg.cli import main\n"
        "print(main(['leaderboard']), sorted({'torch', 'lightning', 'sklearn'} & set(sys.modules)), file=sys.stderr)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=home, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "0 []"
