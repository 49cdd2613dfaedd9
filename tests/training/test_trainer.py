"""The trainer that a configuration makes: what it runs on, and what its options do to the weights."""

import copy
import csv
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, Timer
from tiny_training import SGD, LearningRates, batches, classifier, configured, fit
from torch import nn

from medimg.config import TrainerConfig
from medimg.config.check import check
from medimg.config.compose import load
from medimg.data.load import load_manifest
from medimg.errors import RequestError
from medimg.models import ImageClassifier
from medimg.runs import RunFolder
from medimg.training.experiment import Experiment
from medimg.training.tensorboard import TensorBoardFigures
from medimg.training.trainer import ProgressBar, make_trainer, precision, predicting_trainer


@pytest.mark.parametrize(
    ("accelerator", "capability", "expected"),
    [
        ("auto", (8, 0), "bf16-mixed"),
        ("gpu", (9, 0), "bf16-mixed"),
        ("cuda", (12, 0), "bf16-mixed"),
        ("auto", (7, 5), "16-mixed"),
        ("gpu", (7, 0), "16-mixed"),
        ("gpu", (6, 1), "32-true"),
        ("auto", None, "32-true"),
        ("cpu", (9, 0), "32-true"),
        ("mps", (9, 0), "32-true"),
    ],
)
def test_precision_is_chosen_for_the_hardware(
    monkeypatch: pytest.MonkeyPatch, accelerator: Any, capability: tuple[int, int] | None, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: capability is not None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    assert precision(TrainerConfig(accelerator=accelerator)) == expected
    assert precision(TrainerConfig(accelerator=accelerator, precision="64-true")) == "64-true"


def test_on_the_processor_it_trains_in_32_bits(tmp_path: Path) -> None:
    assert make_trainer(configured(), RunFolder(tmp_path), True).precision == "32-true"
    asked = configured({"trainer.precision": "bf16-mixed"})
    assert make_trainer(asked, RunFolder(tmp_path), True).precision == "bf16-mixed"
    for half in ("16-mixed", 16):
        asked = configured({"trainer.precision": half})
        with pytest.raises(RequestError, match=f"trainer.precision={half}.*needs a GPU\n.*bf16-mixed"):
            make_trainer(asked, RunFolder(tmp_path), True)
        assert predicting_trainer(asked.trainer, tmp_path).precision == "32-true", "a run that was trained on a GPU"


def test_a_device_that_is_not_there_is_a_wrong_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning.pytorch.accelerators.cuda.CUDAAccelerator.is_available", staticmethod(lambda: False))
    monkeypatch.setattr("lightning.pytorch.accelerators.mps.MPSAccelerator.is_available", staticmethod(lambda: False))
    for accelerator in ("gpu", "cuda"):
        with pytest.raises(RequestError, match=r"the trainer cannot be set up[\s\S]*trainer\.\*"):
            make_trainer(configured({"trainer.accelerator": accelerator}), RunFolder(tmp_path), True)
    with pytest.raises(RequestError, match="not an allowed value"):
        configured({"trainer.strategy": "nonsense"})


def test_callbacks_can_be_switched_off(tmp_path: Path) -> None:
    def kinds(changes: dict[str, Any]) -> set[type]:
        return {type(each) for each in make_trainer(configured(changes), RunFolder(tmp_path), True).callbacks}

    optional = {TensorBoardFigures, LearningRateMonitor, EarlyStopping, ProgressBar}
    assert not kinds({}) & optional
    figures = {"_target_": "medimg.training.TensorBoardFigures"}
    rates = {"_target_": "lightning.pytorch.callbacks.LearningRateMonitor"}
    board = {"_target_": "medimg.training.RunTensorBoard"}
    switched_on = {"callbacks.figures": figures, "logger.tensorboard": board, "trainer.enable_progress_bar": True}
    assert kinds(switched_on | {"callbacks.learning_rate": rates}) & optional == optional - {EarlyStopping}
    rates_alone = kinds({"callbacks.learning_rate": rates, "logger.tensorboard": None})
    assert LearningRateMonitor not in rates_alone  # which refuses to work without a logger


def test_max_time_ends_training(tmp_path: Path) -> None:
    config = configured({"trainer.max_time": "00:00:00:01", "trainer.max_epochs": 100_000})
    trainer, _ = fit(config, tmp_path)
    (timer,) = (each for each in trainer.callbacks if isinstance(each, Timer))
    assert 1 <= timer.time_elapsed() < 30
    assert 0 < trainer.current_epoch < 100_000
    with pytest.raises(RequestError, match="DD:HH:MM:SS"):
        configured({"trainer.max_time": "1h"})


def test_early_stopping_stops_early(tmp_path: Path) -> None:
    stopping = {"_target_": "medimg.training.RunEarlyStopping", "patience": 2}
    config = configured(
        {"callbacks.early_stopping": stopping, "trainer.max_epochs": 20, "optimizer.lr": 1e-12}  # nothing improves
    )
    trainer, _ = fit(config, tmp_path)
    assert trainer.current_epoch == 3  # the first is the best, and two have not been better
    with (tmp_path / "metrics.csv").open(newline="") as stream:
        assert [row["epoch"] for row in csv.DictReader(stream)] == ["0", "1", "2"]
    with pytest.raises(RequestError, match=r"callbacks\.early_stopping needs a validation split"):
        make_trainer(config, RunFolder(tmp_path), has_validation=False)


def by_hand(model: ImageClassifier, accumulate: int, clip: Callable[[list[nn.Parameter]], object]) -> nn.Module:
    """The same epoch as a plain loop."""
    net = copy.deepcopy(model.backbone.net).train()
    optimizer = torch.optim.SGD(net.parameters(), lr=SGD["lr"], momentum=SGD["momentum"])  # type: ignore[arg-type]
    data = batches(3)
    for number, batch in enumerate(data, start=1):
        loss = nn.functional.cross_entropy(net((batch.image - 0.5) / 0.25), batch.label)
        (loss / accumulate).backward()
        if number % accumulate == 0 or number == len(data):
            clip(list(net.parameters()))
            optimizer.step()
            optimizer.zero_grad()
    return net


@pytest.mark.parametrize(
    ("options", "accumulate", "clip"),
    [
        ({}, 1, lambda parameters: None),
        ({"trainer.gradient_clip_val": 0.01}, 1, lambda parameters: nn.utils.clip_grad_norm_(parameters, 0.01)),
        (
            {"trainer.gradient_clip_val": 0.001, "trainer.gradient_clip_algorithm": "value"},
            1,
            lambda parameters: nn.utils.clip_grad_value_(parameters, 0.001),
        ),
        ({"trainer.accumulate_grad_batches": 2}, 2, lambda parameters: None),
    ],
)
def test_an_epoch_is_that_of_a_plain_loop(
    tmp_path: Path, options: dict[str, Any], accumulate: int, clip: Callable[[list[nn.Parameter]], object]
) -> None:
    config = configured({"optimizer": SGD, **options})
    model = classifier(config)
    expected = by_hand(model, accumulate, clip)
    start = model.backbone.net.state_dict()["classifier.0.weight"].clone()
    fit(config, tmp_path, model=model)
    for name, value in model.backbone.net.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], rtol=1e-5, atol=1e-6)
    assert not torch.equal(model.backbone.net.state_dict()["classifier.0.weight"], start)


class Seen(Callback):
    """Notes which images each epoch trains on."""

    def __init__(self) -> None:
        self.epochs: dict[int, list[list[int]]] = {}

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: object, batch: Any, *_: object) -> None:
        self.epochs.setdefault(trainer.current_epoch, []).append(batch.index.tolist())


def trained_on(overrides: list[str], root: Path, home: Path) -> tuple[dict[int, list[list[int]]], dict[str, Any]]:
    """The images of each epoch, and the results."""
    source = ["data=image_folder", f"data.root={root}", "data.image_size=8", "data.batch_size=4", "model.widths=[4]"]
    quiet = ["data.num_workers=0", "trainer.accelerator=cpu", "logger=none", "callbacks.figures=null"]
    config = load([*source, *quiet, f"paths.runs={home}", *overrides])
    seen = Seen()
    experiment = Experiment(config, RunFolder(home / "run"), load_manifest(config.data, home), load_weights=True)
    experiment.trainer.callbacks.insert(0, seen)
    experiment.fit(None)
    return seen.epochs, experiment.evaluate(["val"])


def test_overfitting_takes_the_same_images_every_epoch(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    root = make_folder({"a": 12, "b": 12})
    epochs, _ = trained_on(["trainer.overfit_batches=2", "trainer.max_epochs=3"], root, tmp_path)
    assert len(epochs[0]) == 2
    assert epochs == dict.fromkeys(range(3), epochs[0])


def test_limits_limit(tmp_path: Path, make_folder: Callable[..., Path]) -> None:
    root = make_folder({"train/a": 8, "train/b": 8, "val/a": 4, "val/b": 4})
    limits = ["trainer.limit_train_batches=2", "trainer.limit_val_batches=1", "trainer.limit_predict_batches=0.5"]
    epochs, results = trained_on([*limits, "trainer.max_epochs=2"], root, tmp_path)
    assert [len(epochs[0]), len(epochs[1])] == [2, 2]
    assert epochs[0] != epochs[1]
    with (tmp_path / "run/predictions/val.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 4  # one batch of two
    assert results["partial"] == {"val": [4, 8]}
    assert "test" not in results
    assert results["temperature"]["reason"] == "not all of the validation split was looked at"


STEPS, EPOCHS, RATE = 3, 4, 0.1


def half_cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def cosine(step: int) -> float:
    """One epoch of warm-up to the full rate, then down to a tenth of it."""
    if step < STEPS:
        return RATE * (step + 1) / (STEPS + 1)
    return half_cosine(RATE, RATE * 0.1, (step - STEPS) / (STEPS * EPOCHS - STEPS))


def one_cycle(step: int) -> float:
    """Smith's cycle as torch has it: up during the first quarter, down to almost nothing at the last step."""
    top = 0.25 * STEPS * EPOCHS - 1
    last = STEPS * EPOCHS - 1
    if step <= top:
        return half_cosine(RATE / 10, RATE, step / top)
    return half_cosine(RATE, RATE / 10 / 100, (step - top) / (last - top))


SCHEDULES: list[tuple[dict[str, Any], Callable[[int], float]]] = [
    (
        {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 2, "gamma": 0.5},
        lambda step: RATE * 0.5 ** (step // STEPS // 2),
    ),
    ({"_target_": "medimg.models.cosine_with_warmup", "warmup_epochs": 1, "min_lr_ratio": 0.1}, cosine),
    (
        {
            "_target_": "torch.optim.lr_scheduler.OneCycleLR",
            "pct_start": 0.25,
            "div_factor": 10.0,
            "final_div_factor": 100.0,
        },
        one_cycle,
    ),
    (  # nothing improves by 10, so from the second epoch on each ends with a cut
        {
            "_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau",
            "factor": 0.5,
            "patience": 0,
            "threshold": 10.0,
            "threshold_mode": "abs",
        },
        lambda step: RATE * 0.5 ** max(0, step // STEPS - 1),
    ),
]


class KilledError(Exception):
    pass


class Kill(Callback):
    """Ends training in the middle of an epoch."""

    def on_train_batch_start(self, trainer: L.Trainer, *_: object) -> None:
        if trainer.current_epoch == 2:
            raise KilledError


@pytest.mark.parametrize(("schedule", "formula"), SCHEDULES, ids=["step", "cosine", "one_cycle", "plateau"])
def test_learning_rates_follow_the_schedule_and_a_resumed_run_goes_on_with_it(
    tmp_path: Path, schedule: dict[str, Any], formula: Callable[[int], float]
) -> None:
    config = configured({"optimizer": SGD | {"lr": RATE}, "scheduler": schedule, "trainer.max_epochs": EPOCHS})
    expected = pytest.approx([formula(step) for step in range(STEPS * EPOCHS)])

    whole = LearningRates()
    fit(config, tmp_path / "whole", whole, train=STEPS)
    assert whole.seen == expected

    parts = LearningRates()
    with pytest.raises(KilledError):
        fit(config, tmp_path / "parts", Kill(), parts, train=STEPS)
    fit(config, tmp_path / "parts", parts, train=STEPS, checkpoint=tmp_path / "parts/checkpoints/last.ckpt")
    assert parts.seen == expected


def test_a_schedule_by_step_counts_optimizer_steps(tmp_path: Path) -> None:
    """With accumulation the cosine is as long as the steps that are taken, not as the batches."""
    schedule = {"_target_": "medimg.models.cosine_with_warmup", "warmup_epochs": 0, "min_lr_ratio": 0.0}
    config = configured({"optimizer": SGD, "scheduler": schedule, "trainer.accumulate_grad_batches": 2})
    rates = LearningRates()
    fit(config, tmp_path, rates, train=8)
    assert rates.seen == pytest.approx([half_cosine(0.1, 0, number // 2 / 4) for number in range(8)])


MODULE = """
import pathlib
import torch
pathlib.Path(__file__).with_suffix(".imported").touch()
class Half(torch.optim.SGD):
    def __init__(self, params, rate):
        super().__init__(params, lr=rate / 2)
"""


def test_an_optimizer_of_the_users_own_is_built_where_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_optimizers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    node = {"_target_": "my_optimizers.Half", "rate": 0.5}
    with pytest.raises(RequestError, match=r"my_optimizers\.Half is not allowed[\s\S]*allow="):
        configured({"optimizer": node})
    with pytest.raises(RequestError, match="not allowed"):  # in the configuration itself, as a run folder may have it
        check({"optimizer": node, "allow": {"optimizer": ["my_optimizers.Half"]}})
    assert "my_optimizers" not in sys.modules
    assert not (tmp_path / "my_optimizers.imported").exists()

    allow = {"optimizer": ["my_optimizers.Half"]}
    config = configured({"optimizer": node}, allow=allow)
    rates = LearningRates()
    trainer, _ = fit(config, tmp_path / "run", rates, model=classifier(config, allow))
    assert type(trainer.optimizers[0]).__name__ == "Half"
    assert rates.seen == [0.25] * 3
    monkeypatch.delitem(sys.modules, "my_optimizers")


def test_an_argument_that_the_users_own_does_not_take_is_told(tmp_path: Path) -> None:
    allow = {"optimizer": ["torch.optim.Rprop"]}
    config = configured({"optimizer": {"_target_": "torch.optim.Rprop", "speed": 1}}, allow=allow)
    with pytest.raises(RequestError, match=r"torch\.optim\.Rprop cannot be built from \['speed'\]"):
        fit(config, tmp_path, model=classifier(config, allow))
