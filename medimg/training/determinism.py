"""Makes what torch draws during training, dropout above all, a function of (seed, epoch, step, process)."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from medimg.randomness import Stream, derive_seed


class StatelessRandomness(Callback):
    """Seeds torch anew at every step, so that a run taken up again draws what it would have drawn.

    The order of images and their augmentation need no generator: they are computed from (seed, epoch, image).
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before each step."""
        seed = derive_seed(self.seed, Stream.STEP, trainer.current_epoch, batch_idx, trainer.global_rank)
        # not torch.manual_seed, which takes a millisecond to note down for GPUs that nobody uses who called it
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif pl_module.device.type == "mps":
            torch.mps.manual_seed(seed)
