"""A loss that is no number any more ends the run, by step, and never reaches a checkpoint."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tiny_training import configured, fit

from medimg.errors import MedimgError
from medimg.training.finite_loss import FiniteLoss, _Step


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


def test_an_answer_is_read_ten_steps_after_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By then a GPU has it ready, and nobody waits."""
    seen: list[tuple[str, int]] = []

    def on_its_way(values: torch.Tensor) -> Callable[[], list[bool]]:
        seen.append(("asked", len(values)))

        def read() -> list[bool]:
            seen.append(("read", len(values)))
            return [True] * len(values)

        return read

    monkeypatch.setattr("medimg.training.finite_loss._on_its_way", on_its_way)
    watch = FiniteLoss()

    class Trainer:
        current_epoch, is_last_batch = 0, False
        optimizers = [torch.optim.SGD([torch.zeros(1)], lr=0.1)]  # noqa: RUF012

    def step(number: int) -> None:
        watch.on_train_batch_end(Trainer(), None, {"loss": torch.zeros(())}, None, number)  # type: ignore[arg-type]

    for number in range(19):
        step(number)
    assert seen == [("asked", 10)]
    for number in range(19, 25):
        step(number)
    assert seen == [("asked", 10), ("read", 10), ("asked", 10)]
    Trainer.is_last_batch = True
    step(25)
    assert seen[3:] == [("read", 10), ("asked", 6), ("read", 6)]


def test_in_a_long_epoch_it_ends_before_the_end_and_names_the_step(tmp_path: Path) -> None:
    seen: list[int] = []

    class Steps(Callback):
        def on_train_batch_start(self, *given: Any) -> None:
            seen.append(given[-1])

    with pytest.raises(MedimgError, match="epoch 0, step 3 of it"):
        fit(configured(), tmp_path, Spoil(0, 3), Steps(), train=50)
    assert len(seen) == 20
    assert not (tmp_path / "checkpoints").exists()


def test_the_first_of_those_noted_is_named() -> None:
    watch = FiniteLoss()
    watch._losses = [torch.tensor(value) for value in (1.0, math.nan, math.inf)]
    watch._steps = [_Step(0, number, 0.1) for number in range(3)]
    with pytest.raises(MedimgError, match="epoch 0, step 1 of it"):
        watch.check()
    watch.check()  # they are told once
