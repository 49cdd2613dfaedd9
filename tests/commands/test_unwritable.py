"""What is said where a command cannot write: the folder that stands in the way, and what to do."""

import errno
import os
from pathlib import Path

import pytest

from medimg.cli import main
from medimg.commands.unwritable import refused


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that can be read and not written; for root all can be, so the system's answer is made up."""
    folder = tmp_path / "closed"
    (folder / "below").mkdir(parents=True)
    real = os.access

    def access(path: str | Path, mode: int) -> bool:
        return real(path, mode) and not (mode == os.W_OK and Path(path).is_relative_to(folder))

    monkeypatch.setattr(os, "access", access)
    return folder


def denied(path: Path) -> OSError:
    return PermissionError(errno.EACCES, "Permission denied", str(path))


@pytest.mark.parametrize(
    ("command", "name", "cure"),
    [
        ("train", "study/2024", "paths.runs=DIR"),
        ("leaderboard", ".leaderboard.csv.1a1iak2n", "output=DIR"),
        ("export", ".model.15841.onnx", "output=FILE"),
        ("evaluate", ".lock", "cp -r"),
        ("resume", "train.log", "cp -r"),
    ],
)
def test_the_folder_and_the_cure_are_named(closed: Path, command: str, name: str, cure: str) -> None:
    said = str(refused(command, denied(closed / name)))
    assert said.startswith(f"nothing can be written into {closed} (permission denied)\n")
    assert cure in said
    assert Path(name).name not in said


def test_what_is_not_about_writing_stays_as_the_system_says_it(closed: Path, tmp_path: Path) -> None:
    for error in (denied(tmp_path / "data.csv"), FileNotFoundError(errno.ENOENT, "No such file", str(closed / "x"))):
        assert str(refused("train", error)) == f"a file or folder cannot be used: {error}"
    assert "cannot be used" in str(refused("check", OSError("odd")))


def test_it_is_what_the_command_line_says(
    closed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: object) -> int:
        raise denied(closed / ".leaderboard.csv.x")

    monkeypatch.setattr("medimg.commands.leaderboard.main", never)
    assert main(["leaderboard", f"dir={closed}"]) == 2
    assert f"medimg: error: nothing can be written into {closed}" in capsys.readouterr().err
