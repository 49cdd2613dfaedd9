"""A folder is not removed while a process that reads from it lives."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medimg.data.cache import in_use
from medimg.data.cache.in_use import hold, remove_unless_held

HOLDER = """
import sys
from pathlib import Path
from medimg.data.cache.in_use import hold
print(hold(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "set"
    (made / "train").mkdir(parents=True)
    (made / "train" / "a.png").write_bytes(b"x")
    return made


def test_nobody_holds_it(folder: Path) -> None:
    assert remove_unless_held(folder)
    assert not folder.exists()
    assert not any(folder.parent.iterdir())
    assert remove_unless_held(folder), "it is gone already"
    assert not hold(folder)


def test_another_process_holds_it_until_it_ends(folder: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert not remove_unless_held(folder)
        assert (folder / "train" / "a.png").is_file()
        holder.kill()
    assert remove_unless_held(folder)


def test_holding_again_opens_nothing_more(folder: Path) -> None:
    assert hold(folder)
    held = in_use._held[folder]
    assert hold(folder)
    assert in_use._held[folder] == held
    assert not remove_unless_held(folder)
    os.close(in_use._held.pop(folder))
    assert remove_unless_held(folder)


def test_a_folder_made_anew_is_held_anew(folder: Path) -> None:
    assert hold(folder)
    folder.rename(folder.with_name("old"))
    assert not hold(folder)
    folder.mkdir()
    assert hold(folder)
    assert not remove_unless_held(folder)


def test_without_locks_it_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert hold(folder)
    assert not remove_unless_held(folder)
    assert folder.is_dir()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert not hold(tmp_path / "file")
