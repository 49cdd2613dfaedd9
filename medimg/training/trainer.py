"""Builds the Lightning Trainer of a run from its configuration."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, TQDMProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from medimg.config import (
    CheckpointConfig,
    EarlyStoppingConfig,
    FiguresConfig,
    LearningRateConfig,
    MonitorConfig,
    PruningConfig,
    TensorBoardConfig,
    TrainConfig,
    TrainerConfig,
)
from medimg.config.build import build
from medimg.config.check import as_dict
from medimg.errors import RequestError
from medimg.runs import RunFolder
from medimg.training.checkpoint_callbacks import AtomicCheckpointIO
from medimg.training.determinism import StatelessRandomness
from medimg.training.epoch_table import EpochTable
from medimg.training.finite_loss import FiniteLoss
from medimg.training.frozen_trunk import FrozenTrunk
from medimg.training.hardware import precision, predicting_precision, set_arithmetic
from medimg.training.interrupts import Interrupts
from medimg.training.quiet import quiet
from medimg.training.save_on_signal import SaveOnSignal

C = TypeVar("C", bound=Callback)

# what the Trainer calls differently, or what is not the Trainer's
_OURS = (
    *("precision", "enable_progress_bar", "overfit_batches", "max_time", "profiler", "sync_batchnorm"),
    *("channels_last", "compile", "float32_matmul_precision", "num_threads"),
)


class ProgressBar(TQDMProgressBar):
    """Batches done and time left; what an epoch measured stands in the log."""

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Nothing beside the bar."""
        return {}


def make_trainer(
    config: TrainConfig,
    folder: RunFolder,
    has_validation: bool,
    interrupts: Interrupts | None = None,
    *more: Callback,
) -> L.Trainer:
    """The Trainer of a run, with its callbacks and loggers.

    Args:
        config: checked.
        folder: where checkpoints and logs go.
        has_validation: whether there is something to select epochs by.
        interrupts: where signals are noted that end training at the next optimizer step.
        more: callbacks beside those of the configuration.

    Raises:
        RequestError: what was asked for is not on this machine, or does not go together.
    """
    quiet()
    set_arithmetic(config.trainer, whole_network=not getattr(config.model, "freeze", False))
    options = {name: value for name, value in as_dict(config.trainer).items() if name not in _OURS}
    if config.trainer.overfit_batches:
        options["limit_train_batches"] = config.trainer.overfit_batches
    try:
        trainer = L.Trainer(
            default_root_dir=folder.path,
            precision=precision(config.trainer),
            max_time=_max_time(config.trainer.max_time),
            callbacks=[*more, *_callbacks(config, folder, config.monitor if has_validation else None, interrupts)],
            logger=_loggers(config, folder) or False,
            use_distributed_sampler=False,  # ours know their rank, and double no image
            enable_progress_bar=_progress_bar(config.trainer),
            profiler=_profiler(config.trainer, folder),
            sync_batchnorm=_sync_batchnorm(config.trainer),
            plugins=[AtomicCheckpointIO()],
            **options,
        )
    except (MisconfigurationException, ValueError) as error:
        raise RequestError(f"the trainer cannot be set up: {error}\n  see the trainer.* keys") from error
    if interrupts is not None:
        # Lightning's own handlers would end the helpers of distributed training before the state is saved
        trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def predicting_trainer(config: TrainerConfig, folder: Path) -> L.Trainer:
    """A Trainer that predicts on one device as a run with this configuration does, and writes nothing.

    Raises:
        RequestError: the device or the precision is not there.
    """
    quiet()
    set_arithmetic(config)
    try:
        return L.Trainer(
            default_root_dir=folder,
            accelerator=config.accelerator,
            devices=1,
            precision=predicting_precision(config),
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=(shown := _progress_bar(config)),
            callbacks=[ProgressBar(leave=False)] if shown else [],
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError) as error:
        raise RequestError(f"the trainer cannot be set up: {error}\n  see the trainer.* keys") from error


def callbacks_of(trainer: L.Trainer, kind: type[C]) -> list[C]:
    """The trainer's callbacks of a class."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning elsewhere
    return [callback for callback in callbacks if isinstance(callback, kind)]


def _progress_bar(config: TrainerConfig) -> bool:
    return sys.stdout.isatty() if config.enable_progress_bar == "auto" else config.enable_progress_bar


def _profiler(config: TrainerConfig, folder: RunFolder) -> Profiler | None:
    """Writes its table into the run folder: `fit-profile.txt`."""
    if config.profiler is None:
        return None
    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}
    profiler: Profiler = kinds[config.profiler](dirpath=folder.path, filename="profile")
    return profiler


def _sync_batchnorm(config: TrainerConfig) -> bool:
    """BatchNorm over all devices works on GPUs alone."""
    if config.sync_batchnorm == "auto":
        return config.devices != 1 and config.accelerator != "cpu" and torch.cuda.is_available()
    return config.sync_batchnorm


def _max_time(text: str | None) -> timedelta | None:
    """DD:HH:MM:SS."""
    if text is None:
        return None
    try:
        days, hours, minutes, seconds = (int(part) for part in text.split(":"))
    except ValueError:
        raise RequestError(f"trainer.max_time={text}: expected DD:HH:MM:SS, such as 00:12:00:00") from None
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _callbacks(
    config: TrainConfig, folder: RunFolder, monitor: MonitorConfig | None, interrupts: Interrupts | None
) -> list[Callback]:
    table = folder.metrics_file if folder.writable else None
    callbacks: list[Callback] = [
        StatelessRandomness(config.seed),
        FiniteLoss(),
        FrozenTrunk(),
        EpochTable(table, config.monitor, config.trainer.max_epochs),
    ]
    if interrupts is not None:
        callbacks.append(SaveOnSignal(interrupts, folder.last))
    if _progress_bar(config.trainer):
        callbacks.append(ProgressBar(leave=False))
    for name, node in config.callbacks.items():
        if node is None or (isinstance(node, LearningRateConfig) and not any(config.logger.values())):
            continue
        if isinstance(node, CheckpointConfig):
            callbacks += build(node, folder=folder.checkpoints, monitor=monitor)
        elif isinstance(node, EarlyStoppingConfig):
            if monitor is None:
                raise RequestError(f"callbacks.{name} needs a validation split\n  data.val_fraction=0.2 cuts one off")
            callbacks.append(build(node, monitor=monitor.metric, mode=monitor.mode))
        elif isinstance(node, PruningConfig):
            if monitor is None:
                raise RequestError(f"callbacks.{name} needs a validation split\n  data.val_fraction=0.2 cuts one off")
            callbacks.append(build(node, folder=folder, monitor=monitor))
        elif isinstance(node, FiguresConfig):
            callbacks.append(build(node, monitor=config.monitor))
        else:
            callbacks.append(build(node))
    return callbacks


def _loggers(config: TrainConfig, folder: RunFolder) -> list[Logger]:
    loggers: list[Logger] = []
    for node in config.logger.values():
        if isinstance(node, TensorBoardConfig):
            loggers.append(build(node, save_dir=folder.path, name="", version="tensorboard", default_hp_metric=False))
        elif node is not None:
            loggers.append(build(node))
    return loggers
