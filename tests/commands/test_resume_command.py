"""What `medimg resume` understands, and what it refuses before it touches a run."""

from pathlib import Path
from typing import Any

import pytest

from medimg.cli import main
from medimg.config.check import as_dict
from medimg.config.compose import load
from medimg.runs import RunFolder
from medimg.training import job


@pytest.fixture(scope="module")
def defaults() -> dict[str, Any]:
    return as_dict(load())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defaults: dict[str, Any]) -> RunFolder:
    """An interrupted run below the working directory's runs/, made with code of the user's own."""
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(tmp_path / "runs" / "a" / "b")
    own = {"optimizer": {"_target_": "my.Lion", "lr": 0.1}, "allow": {"optimizer": ["my.Lion"]}}
    folder.write_config(defaults | own)
    folder.update(status="interrupted", started="2024-01-01T00:00:00+00:00")
    return folder


@pytest.fixture
def taken_up(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What resume would have handed on."""
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(job, "resume_job", lambda *arguments, **named: calls.append((*arguments, named)))
    return calls


def test_defaults(taken_up: list[tuple[Any, ...]]) -> None:
    assert main(["resume", "run=latest"]) == 0
    assert taken_up == [("latest", Path("runs"), {}, {"allow": None, "force": []})]


def test_all_keys(taken_up: list[tuple[Any, ...]]) -> None:
    given = ["run='a (1)/b'", "trainer.max_epochs=20", "paths.runs=/my runs/x", "allow={optimizer:[my.Lion]}"]
    assert main(["resume", *given]) == 0
    given += ["force=[data,augment.rotate]", "data.root=/moved (2)", "callbacks.early_stopping.patience=3"]
    assert main(["resume", *given]) == 0
    run, runs, changes, named = taken_up[-1]
    assert (run, runs) == ("a (1)/b", Path("/my runs/x"))
    assert changes == {"trainer.max_epochs": 20, "data.root": "/moved (2)", "callbacks.early_stopping.patience": 3}
    assert named == {"allow": {"optimizer": ["my.Lion"]}, "force": ["data", "augment.rotate"]}


def test_a_run_that_cannot_be_written(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    (run.path / "train.log").mkdir()
    assert main(["resume", "run=latest", "allow={optimizer:[my.Lion]}"]) == 2
    assert f"Is a directory: '{run.path}/train.log'" in capsys.readouterr().err
    assert run.info()["status"] == "interrupted"


@pytest.mark.parametrize(
    "path",
    ["runs/a/2024-01-01_00-00-00-abc", "/scans (old)/a=b", "2024_01", "it's"],
)
def test_any_path(path: str, taken_up: list[tuple[Any, ...]]) -> None:
    assert main(["resume", f"run={path}"]) == 0
    assert taken_up[0][0] == path


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "many", "true", "[3]"])
def test_epochs_are_a_number(value: str, run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", "run=latest", f"trainer.max_epochs={value}", "allow={optimizer:[my.Lion]}"]) == 2
    assert "whole number" in capsys.readouterr().err
    assert run.info()["status"] == "interrupted"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("force=data", "force: a list of what may have changed"),
        ("augment.rotate=10", "augment.rotate: 0.0 became 10.0"),
        ("model=resnet18", "one by one"),
        ("callbacks.stopping.patience=1", "no single value 'callbacks.stopping.patience'"),
    ],
)
def test_changes_are_named(given: str, said: str, run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", "run=latest", given, "allow={optimizer:[my.Lion]}"]) == 2
    assert said in capsys.readouterr().err
    assert run.info()["status"] == "interrupted"


@pytest.mark.parametrize("given", [["run=a,b"], ["run=latest", "trainer.max_epochs=5,10"]])
def test_resume_does_not_sweep(given: list[str], taken_up: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", *given]) == 2
    assert "takes one value" in capsys.readouterr().err
    assert not taken_up


def test_the_config_of_a_run_does_not_allow_itself(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    before = run.run_file.read_bytes()
    assert main(["resume", "run=latest"]) == 2
    assert "optimizer._target_=my.Lion is not allowed" in capsys.readouterr().err
    assert run.run_file.read_bytes() == before
    assert sorted(path.name for path in run.path.iterdir()) == ["config.yaml", "run.json"]


@pytest.mark.parametrize("allow", ["{optimizer:my.Lion}", "5", "{optimizer:null}", "{model:[my.Lion]}"])
def test_allow_has_to_fit(run: RunFolder, allow: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", f"run={run.path}", f"allow={allow}"]) == 2
    assert capsys.readouterr().err.startswith("medimg: error: ")


def test_a_finished_run_is_not_run_again(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    run.write_config(as_dict(load(["trainer.max_epochs=3"])))
    run.update(status="completed")
    assert main(["resume", "run=latest"]) == 2
    said = capsys.readouterr().err
    assert "is finished, with trainer.max_epochs=3" in said
    assert "trainer.max_epochs=" in said


def test_a_planned_schedule_cannot_be_extended(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    run.write_config(as_dict(load(["trainer.max_epochs=3", "scheduler=cosine"])))
    run.update(status="completed")
    assert main(["resume", "run=latest", "trainer.max_epochs=6"]) == 2
    assert "schedule" in capsys.readouterr().err


def test_a_config_that_is_damaged(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("a: [1", "- 1\n", ""):
        run.config_file.write_text(text, encoding="utf-8")
        assert main(["resume", "run=latest"]) == 2
        assert str(run.config_file) in capsys.readouterr().err
    run.config_file.unlink()
    assert main(["resume", "run=latest"]) == 2
    assert "config.yaml" in capsys.readouterr().err


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", "--help"]) == 0
    text = capsys.readouterr().out
    for key in ("run", "trainer.max_epochs", "paths.runs", "allow"):
        assert f"\n  {key} " in text
