"""Sweeps as users start them: a process of its own, which can be sent signals, and what it leaves behind."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

TINY = [
    "data=image_folder", "data.image_size=8", "data.batch_size=8", "data.num_workers=0", "model.widths=[4]",
    "trainer.accelerator=cpu", "trainer.max_epochs=2", "callbacks.figures=null", "logger=none", "optimizer=sgd",
    "name=study",
]  # fmt: skip
FAILS = "1e38"  # a learning rate that no loss survives


class SweepProcess:
    """A sweep below `home`, and what is in its study."""

    def __init__(self, home: Path, images: Path) -> None:
        self.home, self.study = home, home / "runs" / "study"
        self.command = [sys.executable, "-m", "medimg", "train", "-m", f"data.root={images}", *TINY]

    def start(self, *overrides: str) -> "subprocess.Popen[str]":
        """Started, not waited for."""
        environment = os.environ | {"OMP_NUM_THREADS": "1", "HOME": str(self.home), "RAY_AUTH_MODE": "disabled"}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*self.command, *overrides], cwd=self.home, env=environment, stdout=pipe, stderr=pipe, text=True
        )

    def run(self, *overrides: str) -> "subprocess.CompletedProcess[str]":
        """Waited for."""
        process = self.start(*overrides)
        out, err = process.communicate()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def jobs(self, lr: str | None = None) -> list[Path]:
        """The folders of the jobs, of those with this learning rate where it is given."""
        folders = sorted(file.parent for file in self.study.glob("*/run.json"))
        wanted = None if lr is None else float(lr)
        return [job for job in folders if wanted is None or wanted == learning_rate(job)]

    def status(self) -> list[str]:
        """How the jobs stand, in the order of their folders."""
        return [json.loads((job / "run.json").read_text())["status"] for job in self.jobs()]

    def leaderboard(self) -> list[dict[str, str]]:
        """The rows of leaderboard.csv."""
        with (self.study / "leaderboard.csv").open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))


def learning_rate(job: Path) -> float:
    """The one that a job was made with."""
    rate: float = yaml.safe_load((job / "config.yaml").read_text())["optimizer"]["lr"]
    return rate


def epochs(job: Path) -> list[str]:
    """Those in the table of a run."""
    with (job / "metrics.csv").open(newline="") as stream:
        return [row["epoch"] for row in csv.DictReader(stream)]


def wait_until(true: Callable[[], bool]) -> None:
    """Fails where it never comes."""
    for _ in range(1200):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it never came")


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have; Linux alone."""
    parents = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(file.parent.name)] = int(fields[1])
    found, last = [], [pid]
    while last:
        last = [child for child, parent in parents.items() if parent in last]
        found += last
    return found


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
