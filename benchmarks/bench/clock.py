"""A callback that times a run of medimg from inside: its first optimizer step, and the training part of each epoch."""

import json
import os
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from benchmarks.bench.process import CLOCK, STARTED


class Clock(Callback):
    """Writes `first_step_s`, since the process was started, and `epochs`, images and seconds of each.

    An epoch's seconds go from where its batches are asked for to the end of its last step, validation left out.
    """

    def __init__(self) -> None:
        self._first_step: float | None = None
        self._since: float | None = None
        self._images = 0
        self._epochs: list[dict[str, float]] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listens to where Lightning makes the loader: it fetches ahead from there, before any callback is told."""
        loop = trainer.fit_loop
        make = loop.setup_data

        def timed() -> None:
            if self._since is None:
                self._since = time.monotonic()
            make()

        loop.setup_data = timed  # type: ignore[method-assign]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes the first step, and the last of an epoch."""
        self._images += len(batch.label)
        if self._first_step is None:
            self._first_step = _now() - float(os.environ[STARTED])
        if trainer.is_last_batch and self._since is not None:
            self._epochs.append({"images": self._images, "seconds": _now() - self._since})
            self._since, self._images = None, 0

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the file that the environment names."""
        found = {"first_step_s": self._first_step, "epochs": self._epochs}
        Path(os.environ[CLOCK]).write_text(json.dumps(found), encoding="utf-8")


def _now() -> float:
    """When the device had done what it was asked for."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()
