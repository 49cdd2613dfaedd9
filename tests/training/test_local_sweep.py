"""The local launcher as users meet it: jobs that fail, are killed, are interrupted, or take several devices."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from conftest import draw_folder
from sweep_process import FAILS, SweepProcess, alive, descendants, epochs, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"train/normal": 12, "train/covid": 12}
    return draw_folder(tmp_path_factory.mktemp("images"), counts)


@pytest.fixture
def sweep(tmp_path: Path, images: Path) -> SweepProcess:
    return SweepProcess(tmp_path, images)


def test_killed_half_way_and_started_again(sweep: SweepProcess) -> None:
    """8 jobs, of which 2 fail: 6 results, 2 error.txt, no job run twice to the end, and the right table."""
    lines = ["data.batch_size=8,12", f"optimizer.lr=0.01,0.02,0.03,{FAILS}", "hydra.launcher.n_jobs=2"]
    killed = sweep.start(*lines)
    wait_until(lambda: sweep.status().count("completed") >= 3)
    started = descendants(killed.pid)
    killed.kill()
    killed.communicate()
    wait_until(lambda: not any(alive(pid) for pid in started))  # a killed sweep leaves no job running
    assert len(sweep.jobs()) < 8
    done = {job: job.joinpath("results.json").stat().st_mtime_ns for job in sweep.jobs() if finished(job)}

    again = sweep.run(*lines)
    assert again.returncode == 1
    assert sorted(sweep.status()) == ["completed"] * 6 + ["failed"] * 2
    assert len(list(sweep.study.glob("*/results.json"))) == 6
    errors = sorted(sweep.study.glob("*/error.txt"))
    assert [file.parent for file in errors] == sweep.jobs(FAILS)
    assert all("not finite" in file.read_text() for file in errors)
    assert {job: job.joinpath("results.json").stat().st_mtime_ns for job in done} == done
    assert again.stderr.count("skipped") == len(done)
    for job in sweep.jobs():
        good = job not in sweep.jobs(FAILS)
        assert (job / "train.log").read_text().count(": best epoch ") == good
        if good:
            assert epochs(job) == ["0", "1"]

    rows = {Path(row["folders"]).name: row for row in sweep.leaderboard()}
    assert set(rows) == {job.name for job in sweep.jobs()}
    scores = []
    for job in sweep.jobs():
        row = rows[job.name]
        assert row["status"] == ("completed" if finished(job) else "failed")
        if finished(job):
            score = json.loads((job / "results.json").read_text())["val"]["f1_macro"]
            assert float(row["mean"]) == score
            scores.append((int(row["rank"]), score))
    assert [rank for rank, _ in sorted(scores)] == [1, 2, 3, 4, 5, 6]
    assert [score for _, score in sorted(scores)] == sorted((score for _, score in scores), reverse=True)
    for file in errors:
        (line,) = (line for line in again.stderr.splitlines() if f"{file.parent.name}/error.txt: " in line)
        assert "not finite" in line
    assert "Traceback" not in again.stderr


def finished(job: Path) -> bool:
    return bool(json.loads((job / "run.json").read_text())["status"] == "completed")


def test_a_signal_reaches_the_running_jobs_and_starts_no_more(sweep: SweepProcess) -> None:
    process = sweep.start("seed=0,1,2", "trainer.max_epochs=100000", "hydra.launcher.n_jobs=2")
    wait_until(lambda: len(list(sweep.study.glob("*/checkpoints/last.ckpt"))) == 2)
    started = descendants(process.pid)
    assert len(started) == 2
    assert {os.getpgid(pid) for pid in started} == set(started)  # Ctrl-C of a terminal does not reach them by itself
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert sweep.status() == ["interrupted"] * 2
    assert not any(alive(pid) for pid in started)
    assert said.strip().splitlines()[-1] == "medimg: interrupted by SIGINT"
    assert "Traceback" not in said


def test_a_job_that_is_killed_costs_no_other(sweep: SweepProcess) -> None:
    process = sweep.start("seed=0,1", "trainer.max_epochs=100000")
    wait_until(lambda: len(list(sweep.study.glob("*/checkpoints/last.ckpt"))) == 1)
    (first,) = descendants(process.pid)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: len(list(sweep.study.glob("*/checkpoints/last.ckpt"))) == 2)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert sorted(sweep.status()) == ["failed", "interrupted"]
    (error,) = sweep.study.glob("*/error.txt")
    assert error.read_text() == "the process of the job was ended by SIGKILL; out of memory?\n"
    assert json.loads((error.parent / "run.json").read_text())["seed"] == 0


def test_the_first_failure_can_end_the_sweep(sweep: SweepProcess) -> None:
    done = sweep.run(f"optimizer.lr=0.01,{FAILS},0.02", "sweep.on_error=stop")
    assert done.returncode == 1
    assert sweep.status() == ["completed", "failed"]
    assert "sweep.on_error=stop" in done.stderr
    assert re.search(r"lr-0.02\S*: not started", done.stderr)


def test_jobs_on_several_devices_have_a_fresh_process(sweep: SweepProcess) -> None:
    lines = ["seed=0,1", "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "trainer.max_epochs=1"]
    done = sweep.run(*lines)
    assert done.returncode == 0, done.stderr
    assert sweep.status() == ["completed"] * 2
    for job in sweep.jobs():
        assert epochs(job) == ["0"]
        assert json.loads((job / "run.json").read_text())["in_sweep"] is True
    assert done.stderr.count("epoch 0 (last 0)") == 2  # one process of each speaks
    again = sweep.run(*lines)
    assert again.returncode == 0
    assert again.stderr.count("skipped") == 2


WATCHED = """
import sys
from medimg.training.job_pool import JobPool
from medimg.cli import main
work = JobPool._work
def watched(self, job):
    before = set(sys.modules)
    done = work(self, job)
    heavy = {"torch", "torchvision", "lightning", "torchmetrics", "sklearn", "matplotlib", "scipy", "numpy", "medimg"}
    late = {name for name in set(sys.modules) - before if name.partition(".")[0] in heavy}
    print("imported late:", sorted(name for name in late if not name.startswith("torch.utils.serialization")))
    return done
JobPool._work = watched
sys.exit(main(sys.argv[1:]))
"""


def test_a_job_gives_what_a_run_gives_and_imports_nothing(sweep: SweepProcess) -> None:
    lines = ["seed=3", "augment=rotate_zoom", "data.num_workers=1", "logger=tensorboard", "callbacks=default"]
    fresh = [*sweep.command[:4], *sweep.command[5:]]  # without the -m of a sweep
    sweep.command[1:3] = ["-c", WATCHED]
    done = sweep.run(*lines)
    assert done.returncode == 0, done.stderr
    assert "imported late: []" in done.stderr
    (forked,) = sweep.jobs()
    sweep.command = [*fresh, "name=fresh"]
    assert sweep.run(*lines).returncode == 0
    (single,) = (sweep.home / "runs/fresh").iterdir()
    for file in ("metrics.csv", "predictions/val.csv"):
        assert (forked / file).read_bytes() == (single / file).read_bytes()
