"""Runs that end before they have begun in earnest: few steps, few batches, little time."""

import json
from pathlib import Path

import pytest
from conftest import tiny_overrides

from medimg.cli import main
from medimg.config.compose import load
from medimg.runs import RunFolder
from medimg.training.job import run_job


@pytest.mark.parametrize("option", ["trainer.max_steps=1", "trainer.check_val_every_n_epoch=3", "scheduler=plateau"])
def test_a_run_ends_well(tmp_path: Path, session_cache: Path, option: str) -> None:
    folder = RunFolder(tmp_path / "run")
    run_job(load([*tiny_overrides(tmp_path, session_cache), option]), folder, in_sweep=False)
    assert folder.info()["status"] == "completed"
    assert folder.best.is_file()
    assert 0 <= json.loads(folder.results_file.read_text())["val"]["f1_macro"] <= 1


def test_a_part_of_a_split_is_not_passed_off_as_the_whole(
    tmp_path: Path, session_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = RunFolder(tmp_path / "run")
    overrides = [*tiny_overrides(tmp_path, session_cache), "debug=one_batch", "data.batch_size=3"]
    run_job(load(overrides), folder, in_sweep=False)
    results = json.loads(folder.results_file.read_text())
    counts = folder.info()["counts"]
    assert results["partial"]["val"] == [3, sum(counts["val"].values())]
    assert "no score of the split" in caplog.text


def test_the_profile_is_written_into_the_run(tmp_path: Path, session_cache: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_job(load([*tiny_overrides(tmp_path, session_cache), "debug=profiler"]), folder, in_sweep=False)
    assert "optimizer_step" in (folder.path / "fit-profile.txt").read_text()


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["trainer.limit_val_batches=0"], "trainer.limit_val_batches"),
        (["trainer.devices=0"], "trainer.devices"),
        (["trainer.precision=64-true"], "trainer.precision"),
        (["model.init_from=nowhere/weights.pth"], "model.init_from"),
        (["scheduler=plateau", "data.val_fraction=0"], "plateau"),
        (["-m", "trainer=ddp", "seed=0,1", "hydra/launcher=basic"], "one device"),
        (["-m", "trainer.devices=auto", "seed=0,1", "hydra/launcher=basic"], "one device"),
        (["-m", "trainer=ddp", "seed=0,1", "hydra.launcher.n_jobs=2"], "one after another"),
        (["-m", "seed=0,1", "hydra.launcher.n_jobs=0"], "n_jobs=0: expected auto or a whole number"),
        (["-m", "seed=0,1", "hydra/launcher=loacl"], "Did you mean 'local'?"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path,
    session_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    overrides: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *tiny_overrides(tmp_path, session_cache), *overrides]) == 2
    assert named in capsys.readouterr().err


def test_processes_of_torchrun_need_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert main(["train"]) == 2
    assert "hydra.run.dir" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
