"""Ends a run whose loss is no number any more, and says at which step and what helps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from medimg.errors import MedimgError

_EVERY = 10
_CURES = "a smaller optimizer.lr, trainer.gradient_clip_val=1.0, trainer.precision=32-true"


class _Step(NamedTuple):
    epoch: int
    batch: int
    rate: float


class FiniteLoss(Callback):
    """Looks at the losses of the last few steps together, and only when a GPU has long had its answer ready.

    Asking at each step would make the host wait for the GPU, and then the GPU for the host. So a run goes on for up to
    twenty steps of the epoch before it ends; at the end of an epoch, and before anything is saved, all are looked at.
    """

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._steps: list[_Step] = []
        self._asked: Callable[[], list[bool]] | None = None
        self._asked_of: list[_Step] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Notes the loss, and looks at those noted where enough have come together."""
        self._losses.append(outputs["loss"].detach())
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        self._steps.append(_Step(trainer.current_epoch, batch_idx, rate))
        if trainer.is_last_batch:
            self.check()
        elif len(self._losses) >= _EVERY:
            self._read()
            self._ask()

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
        """Raises MedimgError where a loss that was noted is not finite, naming the first; waits for the device."""
        self._read()
        self._ask()
        self._read()

    def _ask(self) -> None:
        """Has the device find out which of the losses noted are finite, without waiting for it."""
        if self._losses:
            self._asked = _on_its_way(torch.isfinite(torch.stack(self._losses)))
            self._asked_of = self._steps
        self._losses, self._steps = [], []

    def _read(self) -> None:
        """Looks at the last answer asked for."""
        asked, self._asked = self._asked, None
        finite = asked() if asked is not None else []
        if all(finite):
            return
        epoch, batch, rate = self._asked_of[finite.index(False)]
        raise MedimgError(
            f"the loss is not finite: epoch {epoch}, step {batch} of it, at learning rate {rate:g}\n"
            f"  likely cures: {_CURES}; trainer=debug names the operation"
        )


def _on_its_way(values: Tensor) -> Callable[[], list[bool]]:
    """Starts the copy to the host; the function that comes back gives the values when they are there."""
    if not values.is_cuda:
        return values.tolist
    host = values.to("cpu", non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record(torch.cuda.current_stream(values.device))

    def read() -> list[bool]:
        arrived.synchronize()
        found: list[bool] = host.tolist()
        return found

    return read
