"""What run.json says of the code and the machine."""

import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch

from medimg.runs import provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("a = 1\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("runs/\n", encoding="utf-8")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    return tmp_path


def test_a_clean_checkout(repository: Path) -> None:
    commit = git(repository, "log", "-1", "--format=%H")
    assert provenance.git_state(repository) == {"commit": commit, "dirty": False}
    below = repository / "runs" / "x"
    below.mkdir(parents=True)
    (below / "run.json").write_text("{}", encoding="utf-8")
    assert provenance.git_state(below) == {"commit": commit, "dirty": False}, "runs are ignored"


@pytest.mark.parametrize("change", ["edit", "add", "stage", "delete"])
def test_a_changed_checkout(repository: Path, change: str) -> None:
    if change == "delete":
        (repository / "code.py").unlink()
    else:
        name = "code.py" if change == "edit" else "new.py"
        (repository / name).write_text("a = 2\n", encoding="utf-8")
    if change == "stage":
        git(repository, "add", ".")
    state = provenance.git_state(repository)
    assert state is not None
    assert state["dirty"] is True


def test_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_state(tmp_path) is None
    assert provenance.git_state(tmp_path / "missing") is None


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert provenance.git_state(tmp_path) is None


def test_without_git(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.git_state(repository) is None


def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    found = provenance.versions()
    assert found["python"] == platform.python_version()
    assert found["torch"] == torch.__version__.partition("+")[0] or found["torch"] == torch.__version__
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package",))
    assert provenance.versions() == {"python": platform.python_version(), "no-such-package": None}


def test_times_can_be_put_in_order() -> None:
    times = [provenance.now() for _ in range(20)]
    assert times == sorted(times)
    assert len({len(time) for time in times}) == 1
    parsed = datetime.fromisoformat(times[-1])
    assert parsed.utcoffset() == datetime.now(UTC).utcoffset()
    assert abs((datetime.now(UTC) - parsed).total_seconds()) < 5


def test_command_can_be_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/medimg", "train", "data.root=/a b", "name='x'"])
    assert shlex.split(provenance.command()) == ["medimg", "train", "data.root=/a b", "name='x'"]
    monkeypatch.setattr(sys, "argv", ["/somewhere/medimg/__main__.py", "train"])
    assert provenance.command() == "medimg train"
