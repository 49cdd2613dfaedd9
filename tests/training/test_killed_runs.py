"""A run killed at any moment, and resumed each time, ends with the weights of one that never was."""

import csv
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import tiny_overrides

from medimg.config.compose import load
from medimg.runs import RunFolder
from medimg.runs.lock import is_locked
from medimg.training.job import resume_job, run_job

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def in_child(work: Callable[[], object], kill_after: float | None = None) -> int:
    """Does the work in a process of its own, which needs no imports; its exit code, negative where it was killed."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def state(folder: RunFolder, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder.checkpoints / f"{name}.ckpt", weights_only=True)["state_dict"]
    return found


@pytest.mark.parametrize(("kills", "epochs"), [(10, 16), pytest.param(100, 600, marks=pytest.mark.soak)])
def test_killed_at_random_moments(tmp_path: Path, session_cache: Path, kills: int, epochs: int) -> None:
    overrides = [*tiny_overrides(tmp_path, session_cache), f"trainer.max_epochs={epochs}", "scheduler=plateau"]
    whole, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    with_workers = load([*overrides, "data.num_workers=2", "data.cache=none"])  # else threads read, and no processes
    began = time.monotonic()
    assert in_child(lambda: run_job(load(overrides), whole, in_sweep=False)) == 0
    share = (time.monotonic() - began) / kills  # of the time: so that most kills come before the end
    moments = random.Random(0)
    ended = 0
    for _ in range(kills):
        begun = folder.run_file.is_file()
        work = (
            (lambda: resume_job(str(folder.path), tmp_path))
            if begun
            else (lambda: run_job(with_workers, folder, in_sweep=False))
        )
        if begun and folder.info()["status"] == "completed":
            break
        ended += in_child(work, kill_after=moments.uniform(0.02, 2 * share)) == -signal.SIGKILL
        assert not is_locked(folder.path)
    if folder.info()["status"] != "completed":
        assert in_child(lambda: resume_job(str(folder.path), tmp_path)) == 0
    assert ended >= kills / 2
    for name in ("last", "best"):
        assert all(torch.equal(value, state(folder, name)[key]) for key, value in state(whole, name).items())
    assert folder.metrics_file.read_text() == whole.metrics_file.read_text()
    with folder.metrics_file.open(newline="") as stream:
        assert [int(row["epoch"]) for row in csv.DictReader(stream)] == list(range(epochs))
    for split in ("val", "test"):
        assert folder.predictions(split).read_text() == whole.predictions(split).read_text()
    assert scalars(folder) == scalars(whole)


def scalars(folder: RunFolder) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows, without what the end of a run says of its settings."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder.path / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith(("train/", "val/"))]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}
