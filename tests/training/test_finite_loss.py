"""A loss that is no number any more ends the run, by step, and never reaches a checkpoint."""

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tiny_training import configured, fit

from medimg.errors import MedimgError
from medimg.training.finite_loss import FiniteLoss


class Spoil(Callback):
    """Makes the weights infinite before a step."""

    def __init__(self, epoch: int, step: int) -> None:
        self.at = (epoch, step)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if (trainer.current_epoch, batch_idx) == self.at:
            with torch.no_grad():
                next(pl_module.parameters()).fill_(math.inf)


def test_the_step_the_rate_and_the_cures_are_named(tmp_path: Path) -> None:
    config = configured({"trainer.max_epochs": 3, "optimizer.lr": 0.25})
    with pytest.raises(
        MedimgError, match=r"not finite: epoch 1, step 2 of it, at learning rate 0\.25[\s\S]*clip_val"
    ) as caught:
        fit(config, tmp_path, Spoil(1, 2))
    assert caught.value.exit_code == 1
    kept = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in kept.values())


def test_losses_on_a_device_are_looked_at_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta device stands for one whose values must not be asked for at each step."""
    watch = FiniteLoss()
    looked: list[int] = []
    monkeypatch.setattr(watch, "check", lambda: (looked.append(len(watch._losses)), watch._losses.clear()))

    class Trainer:
        current_epoch, is_last_batch = 0, False
        optimizers = [torch.optim.SGD([torch.zeros(1)], lr=0.1)]  # noqa: RUF012

    loss = torch.zeros((), device="meta")
    for step in range(25):
        watch.on_train_batch_end(Trainer(), None, {"loss": loss}, None, step)  # type: ignore[arg-type]
    assert looked == [10, 10]
    Trainer.is_last_batch = True
    watch.on_train_batch_end(Trainer(), None, {"loss": loss}, None, 25)  # type: ignore[arg-type]
    assert looked == [10, 10, 6]


def test_the_first_of_those_noted_is_named() -> None:
    watch = FiniteLoss()
    watch._losses = [torch.tensor(value) for value in (1.0, math.nan, math.inf)]
    watch._steps = [(0, number, 0.1) for number in range(3)]
    with pytest.raises(MedimgError, match="epoch 0, step 1 of it"):
        watch.check()
    watch.check()  # they are told once
