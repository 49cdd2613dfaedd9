"""Which checkpoints a run keeps: the best epoch, the last one, and every one where asked."""

import os
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from weakref import proxy

import lightning as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.fabric.utilities.types import _PATH
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor

from medimg.config import MonitorConfig
from medimg.files import link
from medimg.models.trunk import ENTRY, Trunk, join_trunk
from medimg.training.frozen_trunk import keep_trunk
from medimg.training.selection import Rank, rank


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and then puts it there in one step.

    Lightning's own goes by the temporary folder: where that is another file system, a kill during the copy leaves half
    a checkpoint in the place of the last good one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None) -> None:
        """Saves with `torch.save`; a trunk that `FrozenTrunk` has taken out goes into its own file, and first."""
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(trunk := checkpoint.get(ENTRY), Trunk):
            keep_trunk(trunk, file.parent)
            checkpoint = checkpoint | {ENTRY: trunk.entry}
        unfinished = file.with_name(f".{file.name}.{os.getpid()}")
        try:
            with unfinished.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)

    def load_checkpoint(self, path: _PATH, *arguments: Any, **named: Any) -> dict[str, Any]:
        """The content, with the trunk in it."""
        content: dict[str, Any] = super().load_checkpoint(path, *arguments, **named)
        join_trunk(content, path)
        return content


class RunIdentity(Callback):
    """Writes into each checkpoint which run it is of, and how long that has taken.

    Args:
        config: in plain containers.
        data_fingerprint: of the images and their split.
    """

    def __init__(self, config: dict[str, Any], data_fingerprint: str) -> None:
        self.config, self.data_fingerprint = config, data_fingerprint
        self.seconds = 0.0  # before this process
        self._started = time.monotonic()

    def of(self, trainer: L.Trainer) -> dict[str, Any]:
        """What is written."""
        return {
            "config": self.config,
            "data_fingerprint": self.data_fingerprint,
            "world_size": trainer.world_size,
            "seconds": self.seconds + time.monotonic() - self._started,
        }

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Adds it as `run`."""
        checkpoint["run"] = self.of(trainer)


@dataclass
class Written:
    """The checkpoint that was written last, and when that was in the course of training."""

    epoch: int = -1
    step: int = -1
    file: str = ""


class RunCheckpoint(ModelCheckpoint):
    """A ModelCheckpoint that belongs to its run folder, wherever that has been moved or copied to.

    Lightning keeps absolute paths in a checkpoint. Taken over as they are, a copied run would delete the files of the
    original, and a new run that starts from a checkpoint would take another run's best epoch for its own.

    Args:
        written: shared by the callbacks of a run: an epoch that is the best and the last is one file with two names.
        named: Lightning's own.
    """

    def __init__(self, written: Written, **named: Any) -> None:
        # at the end of an epoch, also of one without validation, so that each can be gone on from
        super().__init__(enable_version_counter=False, save_on_train_epoch_end=True, **named)
        self._written = written

    @property
    def state_key(self) -> str:
        """The name of its state in a checkpoint: by file name, so that several stand side by side."""
        return f"{type(self).__qualname__}({self.filename})"

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        now = (trainer.current_epoch, trainer.global_step)
        if now != (self._written.epoch, self._written.step):
            super()._save_checkpoint(trainer, filepath)
            self._written.epoch, self._written.step = now
            self._written.file = filepath
            return
        if trainer.is_global_zero:
            link(Path(self._written.file), Path(filepath))
            for logger in trainer.loggers:
                logger.after_save_checkpoint(proxy(self))
        trainer.strategy.barrier()
        self._last_global_step_saved, self._last_checkpoint_saved = trainer.global_step, filepath

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the state where its files are in this run's folder, with the paths that they have here."""
        here = Path(str(self.dirpath))
        if not any(here.glob("*.ckpt")):
            return

        def rebased(path: str) -> str:
            return str(here / Path(path).name) if path else path

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        moved = {name: rebased(state_dict[name]) for name in paths}
        kept = {rebased(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": kept, "dirpath": str(here)})


class BestCheckpoint(RunCheckpoint):
    """Keeps the best epoch as `selection.rank` has it: where the metric ties, the lower validation loss wins."""

    def __init__(self, written: Written, folder: Path, monitor: MonitorConfig) -> None:
        super().__init__(written, dirpath=folder, filename="best", monitor=monitor.metric, mode=monitor.mode)
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
        """The reverse of `state_dict`, where the best checkpoint is in this run's folder."""
        if Path(str(self.dirpath), "best.ckpt").is_file():
            best = state_dict["best_rank"]
            self.best_rank = (best[0], best[1]) if best else None
            super().load_state_dict({name: value for name, value in state_dict.items() if name != "best_rank"})


def checkpoints(*, every_epoch: bool, folder: Path, monitor: MonitorConfig | None) -> list[Callback]:
    """The checkpoint callbacks of a run.

    Args:
        every_epoch: keep `epoch_NNN.ckpt` of each epoch as well.
        folder: where they go.
        monitor: what selects the best epoch; None without a validation split, where the last epoch is the best.
    """
    written = Written()
    kept: list[Callback] = [BestCheckpoint(written, folder, monitor)] if monitor is not None else []
    always = partial(RunCheckpoint, written, dirpath=folder, monitor=None, auto_insert_metric_name=False)
    if every_epoch:
        kept.append(always(filename="epoch_{epoch:03d}", save_top_k=-1))
    # save_last=True would skip epochs that are not a best one, so the last epoch has a callback of its own. It comes
    # last: a run goes on from it, and does again what a kill in between has left out
    kept.append(always(filename="last", save_top_k=1))
    return kept
