"""Runs that were begun before some keys existed go on, and are evaluated, as they were."""

import shutil
from pathlib import Path

import pytest
import torch
import yaml
from conftest import tiny_overrides
from older_runs import without
from tiny_training import logging_as_before

from medimg.cli import main
from medimg.config.compose import load
from medimg.evaluation.predictions import Predictions
from medimg.inference.predictor import load_predictor
from medimg.runs import RunFolder
from medimg.training.job import resume_job, run_job

THEN = ("trainer.channels_last=false", "trainer.float32_matmul_precision=highest")


def make_older(folder: RunFolder) -> None:
    """Takes away what a run of that time did not have."""
    recorded = yaml.safe_load(folder.config_file.read_text())
    folder.config_file.write_text(yaml.safe_dump(without(recorded)))
    for file in folder.checkpoints.glob("*.ckpt"):
        content = torch.load(file, weights_only=True)
        content["run"]["config"] = without(content["run"]["config"])
        del content["hyper_parameters"]["channels_last"]
        file.unlink()  # another name of the same file keeps its content
        torch.save(content, file)


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> RunFolder:
    """Two epochs, with the arithmetic of then."""
    home = tmp_path_factory.mktemp("older")
    folder = RunFolder(home / "run")
    run_job(load([*tiny_overrides(home, session_cache), *THEN, "trainer.max_epochs=2"]), folder, in_sweep=True)
    make_older(folder)
    return folder


def copied(folder: RunFolder, to: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(folder.path, to / "run")))


def test_it_is_extended_with_its_own_arithmetic(older: RunFolder, tmp_path: Path, session_cache: Path) -> None:
    folder, whole = copied(older, tmp_path), RunFolder(tmp_path / "whole")
    run_job(load([*tiny_overrides(tmp_path, session_cache), *THEN]), whole, in_sweep=True)
    with logging_as_before():
        resume_job(str(folder.path), tmp_path, {"trainer.max_epochs": 3})
    recorded = yaml.safe_load(folder.config_file.read_text())["trainer"]
    assert (recorded["channels_last"], recorded["float32_matmul_precision"]) == (False, "highest")
    found, wanted = (torch.load(each.last, weights_only=True) for each in (folder, whole))
    assert found["hyper_parameters"]["channels_last"] is False
    assert all(torch.equal(found["state_dict"][name], value) for name, value in wanted["state_dict"].items())


def test_the_command_that_made_it_takes_it_up_or_skips_it(
    older: RunFolder, tmp_path: Path, session_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(older, tmp_path)
    mine = [each for each in tiny_overrides(older.path.parent, session_cache) if "time_share" not in each]
    given = [*mine, "trainer.max_epochs=2"]
    with caplog.at_level("INFO", "medimg"):
        run_job(load(given), folder, in_sweep=True)
        assert "finished before, skipped" in caplog.text
        caplog.clear()
        for _ in range(2):
            run_job(load([*given, "trainer.max_epochs=3"]), folder, in_sweep=True)
    assert "going on at epoch 2" in caplog.text
    assert "finished before, skipped" in caplog.text
    assert folder.read_config()["trainer"]["channels_last"] is False


def test_it_is_evaluated_and_asked_as_it_was(older: RunFolder, tmp_path: Path) -> None:
    folder = copied(older, tmp_path)
    logits = Predictions.read_csv(folder.predictions("val")).logits
    folder.predictions("val").unlink()
    with logging_as_before():
        assert main(["evaluate", f"run={folder.path}", "split=val", "data.cache=none"]) == 0
    assert (Predictions.read_csv(folder.predictions("val")).logits == logits).all()
    (member,) = load_predictor(folder.path, None).members
    assert member.arithmetic == "highest"
    assert member.classifier.backbone.memory_format is torch.contiguous_format
    images = Path(folder.read_config()["paths"]["cache"]) / "phantoms"
    first = next(images.rglob("*.png"))
    with logging_as_before():
        assert main(["predict", f"run={folder.path}", f"input={first}", f"output={tmp_path / 'out.csv'}"]) == 0
    assert (tmp_path / "out.csv").read_text().count("\n") == 2
