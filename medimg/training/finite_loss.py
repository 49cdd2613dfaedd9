"""Ends a run whose loss is no number any more, and says at which step and what helps."""

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from medimg.errors import MedimgError

_EVERY = 10
_CURES = "a smaller optimizer.lr, trainer.gradient_clip_val=1.0, trainer.precision=32-true"


class FiniteLoss(Callback):
    """Looks at the losses of the last few steps together: asking a GPU at each step would make it wait."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._steps: list[tuple[int, int, float]] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes the loss, and looks at those noted where it costs nothing or enough have come together."""
        loss: Tensor = outputs["loss"].detach()
        self._losses.append(loss)
        self._steps.append((trainer.current_epoch, batch_idx, trainer.optimizers[0].param_groups[0]["lr"]))
        if loss.device.type == "cpu" or len(self._losses) >= _EVERY or trainer.is_last_batch:
            self.check()

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keeps weights that are no numbers from replacing good ones; the last step's loss was of those before it."""
        self.check()
        trained = [parameter for parameter in pl_module.parameters() if parameter.requires_grad]
        if trained and not torch.stack([torch.isfinite(parameter).all() for parameter in trained]).all():
            raise MedimgError(
                f"the weights are not finite after step {trainer.global_step}, in epoch {trainer.current_epoch}\n"
                f"  likely cures: {_CURES}"
            )

    def check(self) -> None:
        """Raises MedimgError where a loss that was noted is not finite, naming the first."""
        losses, steps = self._losses, self._steps
        self._losses, self._steps = [], []
        finite = torch.isfinite(torch.stack(losses)).tolist() if losses else []
        if all(finite):
            return
        epoch, batch, rate = steps[finite.index(False)]
        raise MedimgError(
            f"the loss is not finite: epoch {epoch}, step {batch} of it, at learning rate {rate:g}\n"
            f"  likely cures: {_CURES}; trainer=debug names the operation"
        )
