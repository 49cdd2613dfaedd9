"""What is written for people at the end of a run, and what is left where that goes wrong."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import logging_as_before

from medimg.cli import main
from medimg.config import TrainConfig
from medimg.config.compose import load
from medimg.reporting.leaderboard import write_leaderboard
from medimg.reporting.report import write
from medimg.runs import RunFolder
from medimg.training.job import resume_job, run_job

Run = tuple[RunFolder, TrainConfig]


def quick(home: Path, cache: Path) -> TrainConfig:
    data = ["data=covid_phantom", "data.size=32", "data.patients_per_class=8", "evaluation.resamples=100"]
    return load(
        [*TINY, *data, "model.widths=[4]", "trainer.max_epochs=1", f"paths.runs={home}", f"paths.cache={cache}"]
    )


def test_tensorboard_has_the_figures_at_the_best_epoch(tiny_run: Run) -> None:
    folder, _ = tiny_run
    events = EventAccumulator(str(folder.path / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    steps = -(-sum(folder.info()["counts"]["train"].values()) // 8)
    best = (folder.results()["best_epoch"] + 1) * steps - 1
    for split in ("val", "test"):
        for name in ("confusion", "confusion_by_row", "roc", "precision_recall", "reliability"):
            (image,) = events.Images(f"{split}/figures/{name}")
            assert image.step == best
    (shown,) = events.Images("test/figures/roc")
    assert shown.encoded_image_string[:4] == b"\x89PNG"


def test_a_report_that_cannot_be_written_costs_nothing_else(
    tmp_path: Path, session_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_folder: Path) -> None:
        raise ValueError("no font")

    monkeypatch.setattr(write, "write_report", broken)
    folder = RunFolder(tmp_path / "run")
    with caplog.at_level(logging.WARNING):
        run_job(quick(tmp_path, session_cache), folder, in_sweep=False)
    assert folder.info()["status"] == "completed"
    assert {"val", "test"} <= folder.results().keys()
    assert not folder.error_file.exists()
    assert "the report could not be written: ValueError: no font" in caplog.text
    assert "medimg evaluate run=" in caplog.text


def test_jobs_of_a_sweep_leave_it_until_somebody_looks_at_test(
    tmp_path: Path, session_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(tmp_path / "study" / "run")
    run_job(quick(tmp_path, session_cache), folder, in_sweep=True)
    assert not folder.report_file.exists()
    assert not (folder.path / "figures").exists()
    page = tmp_path / "study" / "report.html"
    write_leaderboard([folder, RunFolder(tmp_path / "study" / "never")], page.parent)
    assert "No run of it has looked at the test split" in page.read_text()
    assert main(["evaluate", f"run={folder.path}", "split=test"]) == 0
    assert f"Report: {folder.report_file}" in capsys.readouterr().out
    assert "Scores on test" in folder.report_file.read_text()
    assert (folder.path / "figures" / "test_roc.png").is_file()
    errors = json.loads((folder.path / "figures/errors/errors.json").read_text())
    assert errors["split"] == "test"
    assert np.all([(folder.path / one["picture"]).is_file() for one in errors["errors"]])
    assert "Their test split has been looked at" in page.read_text()
    with (page.parent / "leaderboard.csv").open(newline="") as stream:
        looked, never = csv.DictReader(stream)
    assert float(looked["test_mean"]) == folder.results()["test"]["f1_macro"]
    assert never["status"] == "not started"
    with logging_as_before():
        resume_job(str(folder.path), tmp_path, {"trainer.max_epochs": folder.epochs() + 1})
    assert "No run of it has looked at the test split" in page.read_text()  # the weights are others
