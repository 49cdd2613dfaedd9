"""Ends training at the next optimizer step after a signal, with all that is needed to go on from there."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from medimg.errors import Interrupted
from medimg.training.interrupts import SIGNALS, Interrupts


class SaveOnSignal(Callback):
    """Saves in the middle of an epoch and raises Interrupted.

    After an epoch's last batch it leaves the saving to the epoch's own checkpoint: saved before validation, the epoch
    would never be validated.

    Args:
        interrupts: where signals are noted.
        file: the checkpoint to replace.
    """

    def __init__(self, interrupts: Interrupts, file: Path) -> None:
        self.interrupts = interrupts
        self.file = file

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Saves where an optimizer step has just been made."""
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        if accumulating or trainer.is_last_batch or not self._is_asked(trainer):
            return
        trainer.save_checkpoint(self.file)
        raise Interrupted(self.interrupts.noted or SIGNALS[0])

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Ends where the epoch before has been validated and saved."""
        if self._is_asked(trainer):
            raise Interrupted(self.interrupts.noted or SIGNALS[0])

    def _is_asked(self, trainer: L.Trainer) -> bool:
        """Whether any process had a signal: all save together or none does."""
        noted = self.interrupts.noted is not None
        return noted if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(noted, all=False)
