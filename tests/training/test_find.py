"""What is found before training stands in config.yaml, and the run is the one that was given these values."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY

from medimg.config.check import as_dict
from medimg.config.compose import load
from medimg.config.training import TrainConfig
from medimg.data.dataset import Batch
from medimg.data.load import load_manifest
from medimg.errors import RequestError
from medimg.runs import RunFolder
from medimg.training.find import as_found, find, steepest_fall
from medimg.training.job import resume_job, run_job
from medimg.training.probe import Probe

SMALL = [*TINY, "model.widths=[4]", "model.dropout=0.3", "augment=light", "data.image_size=8", "trainer.max_epochs=1"]
QUIET = ["logger=none", "callbacks.figures=null"]


@pytest.fixture
def given(tmp_path: Path, make_folder: Callable[..., Path]) -> Callable[..., TrainConfig]:
    root = make_folder({"a": 15, "b": 15})

    def configured(*overrides: str) -> TrainConfig:
        return load([*SMALL, *QUIET, "data=image_folder", f"data.root={root}", f"paths.runs={tmp_path}", *overrides])

    return configured


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder.last, weights_only=True)["state_dict"]
    return state


def test_both_are_found_recorded_and_then_given(given: Callable[..., TrainConfig], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "found")
    asked = given("find.lr=true", "find.batch_size=true", "find.max_batch_size=3")
    run_job(asked, folder, in_sweep=True)
    written = folder.read_config()
    assert written["find"] == {"lr": False, "batch_size": False, "max_batch_size": 3}
    size, rate = written["data"]["batch_size"], written["optimizer"]["lr"]
    assert size == 2  # the largest power of two that is allowed
    assert 1e-7 < rate < 1.0
    assert folder.info()["found"] == {"data.batch_size": size, "optimizer.lr": rate}
    direct = RunFolder(tmp_path / "direct")
    run_job(given(f"data.batch_size={size}", f"optimizer.lr={rate}"), direct, in_sweep=True)
    there, here = weights(folder), weights(direct)
    assert all(torch.equal(value, here[name]) for name, value in there.items())
    before = folder.last.stat().st_mtime_ns
    run_job(asked, folder, in_sweep=True)  # the same job of a sweep again: it is finished
    assert folder.last.stat().st_mtime_ns == before


@pytest.mark.parametrize(("fits", "expected"), [(math.inf, 4), (3, 2), (0, None)])
def test_the_batch_is_as_large_as_memory_and_the_split_allow(
    given: Callable[..., TrainConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fits: float,
    expected: int | None,
) -> None:
    """There are 24 images to train on, and a GPU whose memory is full beyond `fits` of them."""
    caplog.set_level("INFO", "medimg")
    step = Probe.training_step

    def on_a_gpu(self: Probe, batch: Batch, batch_idx: int) -> torch.Tensor:
        if len(batch.label) > fits:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return step(self, batch, batch_idx)

    monkeypatch.setattr(Probe, "training_step", on_a_gpu)
    config = given("find.batch_size=true")
    manifest = load_manifest(config.data, tmp_path)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    if expected is None:
        with pytest.raises(RequestError, match="not even one image"):
            find(config, folder, manifest)
    else:
        assert find(config, folder, manifest).data.batch_size == expected
        why = "4 did not fit into memory" if expected == 2 else "fewer than 4 steps an epoch to 24 training images"
        (said,) = [message for message in caplog.messages if message.startswith("find.batch_size:")]
        assert f"data.batch_size={expected}, in the place of 32: " in said and said.endswith(why)


def test_the_rate_is_where_the_loss_falls_fastest() -> None:
    """A fall around 0.01, and before it noise that is small beside it but large beside the steps of the rate."""
    rates = np.logspace(-7, 0, 100)
    noise = np.random.default_rng(0).normal(0, 1e-3, 100)
    fall = 1 / (1 + np.exp(4 * (np.log10(rates) + 2)))
    diverging = np.where(rates > 0.3, 5 * rates, 0)
    found = steepest_fall(rates.tolist(), (fall + noise + diverging).tolist())
    assert found == pytest.approx(0.01, rel=0.5)
    unknown = np.where(rates > 0.1, math.nan, fall)
    assert steepest_fall(rates.tolist(), unknown.tolist()) == pytest.approx(0.01, rel=0.1)
    assert steepest_fall(rates.tolist(), rates.tolist()) is None
    assert steepest_fall(rates.tolist(), [math.nan] * 100) is None


def test_a_run_that_was_killed_after_finding_goes_on_with_what_was_found(
    given: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.claim()
    folder.write_config(as_dict(given("find.lr=true")))  # as a kill between run.json and config.yaml leaves it
    folder.update(status="running", found={"optimizer.lr": 0.125})
    resume_job(str(folder.path), tmp_path)
    assert folder.read_config()["optimizer"]["lr"] == 0.125
    assert folder.read_config()["find"]["lr"] is False


def test_what_was_found_replaces_only_what_was_asked_for(given: Callable[..., TrainConfig]) -> None:
    found = {"optimizer.lr": 0.5, "data.batch_size": 3}
    plain = given()
    assert as_found(plain, found) is plain
    lr = as_found(given("find.lr=true"), found)
    assert (lr.optimizer.lr, lr.data.batch_size, lr.find.lr) == (0.5, plain.data.batch_size, False)  # type: ignore[union-attr]
    both = given("find.lr=true", "find.batch_size=true")
    assert as_found(both, {"optimizer.lr": 0.5}) is both  # it was begun without the other


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["find.lr=true", "trainer.devices=2"], "find.lr=true works on one device"),
        (["find.batch_size=true", "trainer=ddp"], "find.batch_size=true works on one device"),
        (["find.lr=true", "scheduler=one_cycle", "scheduler.max_lr=0.1"], "max_lr=0.1, which alone would count"),
        (["find.lr=true", "ckpt_path=some.ckpt"], "ckpt_path"),
        (
            ["find.lr=true", "optimizer={_target_:my.Lion}", "allow={optimizer:[my.Lion]}"],
            "an optimizer of your own",
        ),
    ],
)
def test_what_cannot_be_is_refused(given: Callable[..., TrainConfig], overrides: list[str], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        given(*overrides)
    assert given("find.lr=true", "scheduler=one_cycle").find.lr
