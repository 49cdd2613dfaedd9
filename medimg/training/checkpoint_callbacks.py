"""Which checkpoints a run keeps: the best epoch, the last one, and every one where asked."""

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor

from medimg.config import MonitorConfig
from medimg.training.selection import Rank, rank


class BestCheckpoint(ModelCheckpoint):
    """Keeps the best epoch as `selection.rank` has it: where the metric ties, the lower validation loss wins."""

    def __init__(self, folder: Path, monitor: MonitorConfig) -> None:
        super().__init__(
            dirpath=folder, filename="best", monitor=monitor.metric, mode=monitor.mode, enable_version_counter=False
        )
        self._selection = monitor
        self.best_rank: Rank | None = None

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        """Whether the epoch that ends is better than the best so far."""
        found = rank(trainer.callback_metrics, self._selection)
        better = found is not None and (self.best_rank is None or found > self.best_rank)
        if better:
            self.best_rank = found
        return better

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know."""
        return super().state_dict() | {"best_rank": list(self.best_rank) if self.best_rank else None}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        best = state_dict.get("best_rank")
        self.best_rank = (best[0], best[1]) if best else None
        super().load_state_dict({name: value for name, value in state_dict.items() if name != "best_rank"})


def checkpoints(*, every_epoch: bool, folder: Path, monitor: MonitorConfig | None) -> list[Callback]:
    """The checkpoint callbacks of a run.

    Args:
        every_epoch: keep `epoch_NNN.ckpt` of each epoch as well.
        folder: where they go.
        monitor: what selects the best epoch; None without a validation split, where the last epoch is the best.
    """
    kept: list[Callback] = [BestCheckpoint(folder, monitor)] if monitor is not None else []
    # save_last=True would skip epochs that are not a best one, so the last epoch has a callback of its own
    kept.append(_unconditional(folder, "last", save_top_k=1))
    if every_epoch:
        kept.append(_unconditional(folder, "epoch_{epoch:03d}", save_top_k=-1))
    return kept


def _unconditional(folder: Path, filename: str, save_top_k: int) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=folder,
        filename=filename,
        monitor=None,
        save_top_k=save_top_k,
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )
