"""A sweep from the command line: a job that fails, the same command again, and who looks at the test split."""

import csv
import gc
import json
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import draw_folder
from omegaconf import DictConfig
from tiny_training import configured, logging_as_before

from medimg.cli import main
from medimg.config.training import TrainConfig
from medimg.models import ImageClassifier
from medimg.training import sweep as sweeps
from medimg.training.run import _looks_at_test
from medimg.training.sweep_job import sweep_job

TINY = [
    "data=image_folder",
    "data.image_size=8",
    "data.batch_size=8",
    "data.num_workers=0",
    "model.widths=[4]",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "trainer.enable_progress_bar=false",
    "callbacks.figures=null",
    "logger=none",
    "hydra/launcher=basic",  # threads of this process, which has computed, would not survive a fork
]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Hydra sets up logging for each job, with files and streams that are gone afterwards."""
    with logging_as_before():
        yield


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"train/normal": 12, "train/covid": 12, "test/normal": 4, "test/covid": 4}
    return draw_folder(tmp_path_factory.mktemp("images"), counts)


class Sweep(NamedTuple):
    code: int
    said: str
    study: Path

    def job(self, shown: str) -> Path:
        """The folder of a job by a part of its name."""
        (found,) = (folder for folder in self.study.iterdir() if shown in folder.name)
        return found

    def status(self) -> dict[str, str]:
        files = sorted(self.study.glob("*/run.json"))
        return {file.parent.name.rpartition("-")[0]: json.loads(file.read_text())["status"] for file in files}


@pytest.fixture
def sweep(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Sweep]:
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str) -> Sweep:
        code = main(["train", "-m", "name=study", f"data.root={images}", *TINY, *overrides])
        said = capfd.readouterr()
        return Sweep(code, said.out + said.err, tmp_path / "runs" / "study")

    return run


def files(folder: Path) -> dict[str, int]:
    """When each result was written; Hydra's own notes are written anew each time."""
    names = ("run.json", "results.json", "metrics.csv", "checkpoints/best.ckpt", "predictions/val.csv")
    return {name: (folder / name).stat().st_mtime_ns for name in names}


def test_a_job_that_fails_does_not_end_the_sweep_and_is_tried_again(sweep: Callable[..., Sweep]) -> None:
    lines = ("optimizer=sgd", "optimizer.lr=0.01,1e30,0.02")
    first = sweep(*lines)
    assert first.code == 1
    status = {re.sub(r".*lr-([^_]+).*", r"\1", name)[:4]: value for name, value in first.status().items()}
    assert sorted(status.items()) == [("0.01", "completed"), ("0.02", "completed"), ("1e30", "failed")]
    failed = first.job("lr-1e")
    assert "not finite" in (failed / "error.txt").read_text()
    assert "Traceback" not in first.said

    assert sorted(re.findall(r"^[12] +(0\.0[12]) .* completed$", first.said, re.MULTILINE)) == ["0.01", "0.02"]
    assert len(re.findall(r"^failed +1e\+30 .*lr-1e30", first.said, re.MULTILINE)) == 1
    with (first.study / "leaderboard.csv").open(newline="") as stream:
        ranked = {row["optimizer.lr"]: row for row in csv.DictReader(stream)}
    assert {lr: row["status"] for lr, row in ranked.items()} == {
        "0.01": "completed",
        "0.02": "completed",
        "1e+30": "failed",
    }
    for shown in ("lr-0.01", "lr-0.02"):
        results = json.loads((first.job(shown) / "results.json").read_text())
        assert "test" not in results  # the jobs of a sweep are chosen among, so none of them looks
        assert not (first.job(shown) / "predictions/test.csv").exists()
        assert float(ranked[shown.removeprefix("lr-")]["mean"]) == results["val"]["f1_macro"]
        assert f"{results['val']['f1_macro']:.4f}" in first.said

    assert all(
        re.fullmatch(r"[A-Za-z0-9._-]+-[0-9a-f]{8}", folder.name) for folder in first.study.iterdir() if folder.is_dir()
    )
    before = {shown: files(first.job(shown)) for shown in ("lr-0.01", "lr-0.02")}
    ended = json.loads((failed / "run.json").read_text())["finished"]
    again = sweep(*lines)
    assert again.code == 1
    assert {shown: files(again.job(shown)) for shown in before} == before
    assert json.loads((failed / "run.json").read_text())["finished"] > ended
    assert again.said.count("skipped") == 2
    assert len(list(again.study.glob("*/run.json"))) == 3


def test_experiments_can_be_swept_over_and_a_fold_is_evaluated_on_its_held_out_part(
    sweep: Callable[..., Sweep],
) -> None:
    done = sweep("experiment=covid_cnn,covid_cnn_baseline", "data.folds=3", "data.fold=1", "data.image_size=32")
    assert done.code == 0
    held_out = []
    for job in sorted(done.study.glob("*/run.json")):
        results = json.loads((job.parent / "results.json").read_text())
        assert {"val", "test"} <= set(results)
        with (job.parent / "predictions/test.csv").open(newline="") as stream:
            held_out.append([row["path"] for row in csv.DictReader(stream)])
    assert len(held_out) == 2
    assert held_out[0] == held_out[1]
    assert len(held_out[0]) == 8
    assert all(path.startswith("train/") for path in held_out[0])  # the source's own test images are not in the folds
    assert "Traceback" not in done.said


def test_all_jobs_are_checked_before_the_first_starts(sweep: Callable[..., Sweep]) -> None:
    done = sweep("seed=0,1,-5")
    assert done.code == 2
    assert "job 3 of 3" in done.said
    assert "seed=-5" in done.said
    assert not done.study.exists()


@pytest.mark.parametrize("override", ["name=a,b", "paths.runs=a,b"])
def test_the_jobs_of_a_sweep_share_a_folder(sweep: Callable[..., Sweep], override: str) -> None:
    done = sweep(override)
    assert done.code == 2
    assert "share one folder" in done.said


@pytest.mark.parametrize(
    ("in_sweep", "fold", "evaluate_test", "looks"),
    [
        (False, None, "auto", True),
        (True, None, "auto", False),
        (True, 0, "auto", True),
        (True, None, True, True),
        (True, 0, False, False),
        (False, None, False, False),
    ],
)
def test_who_looks_at_the_test_split(in_sweep: bool, fold: int | None, evaluate_test: object, looks: bool) -> None:
    folds = {"data.folds": 5, "data.fold": fold} if fold is not None else {}
    config: TrainConfig = configured({"evaluate_test": evaluate_test, **folds})
    assert _looks_at_test(config, in_sweep) is looks


def test_jobs_in_this_process_leave_nothing_to_the_next(
    sweep: Callable[..., Sweep], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither models nor open files nor handlers of the log, of jobs that fail included."""
    left = []

    def job(composed: DictConfig) -> float | None:
        value = sweep_job(composed)
        models = sum(type(thing) is ImageClassifier for thing in gc.get_objects())
        threads = threading.active_count()
        left.append((models, len(list(Path("/proc/self/fd").glob("*"))), len(logging.getLogger().handlers), threads))
        return value

    monkeypatch.setattr(sweeps, "sweep_job", job)
    gc.collect()
    before = sum(type(thing) is ImageClassifier for thing in gc.get_objects())
    done = sweep("optimizer=sgd", "seed=0,1", "optimizer.lr=0.01,1e38,1e37", "logger=tensorboard")
    assert done.code == 1
    assert len(left) == 6
    assert {models for models, *_ in left} == {before}
    assert len(set(left[1:])) == 1


def test_the_first_failure_can_end_the_sweep_in_this_process_too(sweep: Callable[..., Sweep]) -> None:
    done = sweep("optimizer=sgd", "optimizer.lr=0.01,1e38,0.02", "sweep.on_error=stop")
    assert done.code == 1
    assert sorted(done.status().values()) == ["completed", "failed"]
    assert "not started" in done.said


def test_a_sweep_that_is_written_in_yaml_needs_no_option(
    sweep: Callable[..., Sweep], tmp_path: Path, images: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    choice = tmp_path / "conf/experiment/seeds.yaml"
    choice.parent.mkdir(parents=True)
    choice.write_text("# @package _global_\nhydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      seed: 0,1\n")
    lines = ["train", "experiment=seeds", "name=study", f"data.root={images}", *TINY]
    assert main(lines) == 0
    study = tmp_path / "runs" / "study"
    assert len(list(study.glob("*/results.json"))) == 2
    assert main([*lines, "seed=1,2"]) == 0  # the command line replaces the key
    assert "skipped" in capfd.readouterr().err
    assert len(list(study.glob("*/results.json"))) == 3


def test_other_settings_or_other_images_are_refused_for_that_job_alone(
    sweep: Callable[..., Sweep], tmp_path: Path
) -> None:
    root = draw_folder(tmp_path / "own", {"train/a": 12, "train/b": 12})
    assert sweep(f"data.root={root}", "seed=0").code == 0
    study = tmp_path / "runs" / "study"
    (job,) = (file.parent for file in study.glob("*/run.json"))
    before = (job / "run.json").read_bytes()
    (root / "train/a/more.png").write_bytes((root / "train/b/1_000.png").read_bytes())
    refused = sweep(f"data.root={root}", "seed=0,1")
    assert refused.code == 1
    assert len(list(study.glob("*/results.json"))) == 2
    assert (job / "run.json").read_bytes() == before
    assert re.search(rf"{job.name}/error.txt: .*images have changed", refused.said)
    (root / "train/a/more.png").unlink()
    assert sweep(f"data.root={root}", "seed=0").code == 0  # they are as they were
    assert not (job / "error.txt").exists()


def test_a_job_that_another_process_is_running_is_left_alone(sweep: Callable[..., Sweep]) -> None:
    (job,) = (file.parent for file in sweep("seed=0").study.glob("*/run.json"))
    (job / "run.json").write_text((job / "run.json").read_text().replace('"completed"', '"running"'))
    before = (job / "run.json").read_bytes()
    program = (
        "import pathlib, sys\n"
        "from medimg.runs.lock import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, str(job)], stdin=pipe, stdout=pipe, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "locked\n"
        done = sweep("seed=0,1")
        assert owner.stdin is not None
        owner.stdin.close()
    assert done.code == 1
    assert re.search(rf"^\S*{job.name}: another process is running it right now$", done.said, re.MULTILINE)
    assert (job / "run.json").read_bytes() == before
    assert not (job / "error.txt").exists()
