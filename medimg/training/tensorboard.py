"""What TensorBoard shows besides scalars: augmented images, confusion matrices, precision-recall curves, HPARAMS."""

import time
from collections.abc import Mapping
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid

from medimg.config import Component, MonitorConfig, TrainConfig
from medimg.config.check import as_dict, target_of
from medimg.data.dataset import Batch
from medimg.data.manifest import SPLITS
from medimg.evaluation.metrics import confusion_matrix
from medimg.evaluation.predictions import softmax
from medimg.models.classifier import ImageClassifier
from medimg.reporting.drawing import pixels
from medimg.reporting.figures import confusion_matrix_figure
from medimg.training.selection import Rank, rank

# the report's figures of validation, and the tags that they have while it trains
_MATRICES = {
    "val_confusion": "val/confusion_matrix/counts",
    "val_confusion_by_row": "val/confusion_matrix/by_true_class",
}


class RunTensorBoard(TensorBoardLogger):
    """The TensorBoard logger of a run that may be killed and go on.

    A scalar is written once a step, whoever logs it first. What a killed process wrote after the checkpoint that the
    run goes on from is taken back by TensorBoard's own means, an event that marks a restart.
    """

    def start_at(self, step: int) -> None:
        """The optimizer steps made so far; to be called before anything is written."""
        if step:
            self._kwargs["purge_step"] = step

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Leaves out what was written for this step already."""
        written = self.__dict__.setdefault("_last", {})
        fresh = {name: value for name, value in metrics.items() if step is None or written.get(name) != step}
        written.update(dict.fromkeys(fresh, step))
        if fresh:
            super().log_metrics(fresh, step)


def writer(trainer: L.Trainer) -> SummaryWriter | None:
    """The writer of the run's event files, where TensorBoard is on and this is the first process."""
    if not trainer.is_global_zero:
        return None
    return next((logger.experiment for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)


class TensorBoardFigures(Callback):
    """Draws what needs a picture, and only where there is something new to see.

    Precision-recall curves and confusion matrices are of each new best epoch and of the last. A drawn figure costs more
    than an epoch on cached features, so matrices are left out where they would take too much of the time; that of the
    best epoch is then the report's, see `log_figures`.

    Args:
        augmented_images: how many images of the first training batch to show, as the model gets them.
        time_share: the part of the training time that drawing may take; None: there is no limit.
        monitor: what makes an epoch the best so far.
    """

    def __init__(self, augmented_images: int, time_share: float | None, monitor: MonitorConfig) -> None:
        self.augmented_images = augmented_images
        self.time_share = time_share
        self.monitor = monitor
        self._began = self._spent = 0.0
        self._cost = 0.2  # seconds of the last drawing; of the first, a guess
        self.best: Rank | None = None
        self.has_best = False  # whether the matrix of the best epoch so far is drawn
        self._step: int | None = None  # of the last validation
        self._drawn: int | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock."""
        self._began = time.monotonic()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Shows the first batch as it is after augmentation; where training is on features, there is none."""
        if trainer.current_epoch > 0 or batch_idx > 0 or not self.augmented_images or batch.features is not None:
            return
        if (board := writer(trainer)) is not None and isinstance(pl_module, ImageClassifier):
            images = pl_module.preprocessing.to_unit(batch.image[: self.augmented_images]).float().cpu()
            board.add_image("train/augmented_images", make_grid(images, nrow=8, padding=2), 0)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the epoch where it is the best so far."""
        if trainer.sanity_checking:
            return
        self._step = trainer.global_step - 1  # where the scalars of the epoch are
        found = rank(trainer.callback_metrics, self.monitor)
        if found is None or (self.best is not None and found <= self.best):
            return
        self.best = found
        self.has_best = self._draw(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draws the last epoch that was validated."""
        self._draw(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know."""
        return {"best": list(self.best) if self.best else None, "has_best": self.has_best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        self.best = (state_dict["best"][0], state_dict["best"][1]) if state_dict["best"] else None
        self.has_best = state_dict.get("has_best", True)  # earlier versions did not say

    def _draw(self, trainer: L.Trainer, pl_module: L.LightningModule) -> bool:
        """Returns whether the matrix is drawn, and not the curves alone."""
        if self._step in {None, self._drawn} or not isinstance(pl_module, ImageClassifier):
            return False
        self._drawn = self._step
        labels, logits = pl_module.epoch_outputs("val")  # of all processes, so all have to come here
        if (board := writer(trainer)) is None:
            return False
        if has_time := self._has_time():
            start = time.monotonic()
            counts = confusion_matrix(labels, logits.argmax(axis=1), len(pl_module.classes))
            for tag, by_true_class in zip(_MATRICES.values(), (False, True), strict=True):
                picture = pixels(confusion_matrix_figure(counts, pl_module.classes, by_true_class=by_true_class))
                board.add_image(tag, picture, self._step, dataformats="HWC")
            self._cost = time.monotonic() - start
            self._spent += self._cost
        for number, (name, column) in enumerate(zip(pl_module.classes, softmax(logits).T, strict=True)):
            board.add_pr_curve(f"val/precision_recall/{name}", labels == number, column, self._step)
        return has_time

    def _has_time(self) -> bool:
        """Whether one more drawing stays within the share."""
        if self.time_share is None:
            return True
        return self._spent + self._cost <= self.time_share * (time.monotonic() - self._began)


@rank_zero_only
def log_hparams(trainer: L.Trainer, config: TrainConfig, scores: dict[str, float]) -> None:
    """Lets TensorBoard's HPARAMS compare runs: their settings beside their best validation scores."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            monitored = config.monitor.metric.removeprefix("val/")  # a class's own score, where that is monitored
            shown = {name: score for name, score in scores.items() if "/" not in name or name == monitored}
            logger.log_hyperparams(_hparams(config), {f"val_best/{name}": score for name, score in shown.items()})
            logger.finalize("success")  # saves, and ends the thread that writes, which would outlive a job of a sweep


def log_figures(trainer: L.Trainer, figures: Mapping[str, NDArray[np.uint8]], step: int) -> None:
    """Shows the figures of the report, which are of the best epoch: `test_roc` as `test/figures/roc`.

    Its confusion matrices of validation also take the place of those that there was no time for while it trained.
    """
    board = writer(trainer) if figures else None
    if board is None:
        return
    tags = {name: [_tag(name)] for name in figures if name.partition("_")[0] in SPLITS}
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by Lightning elsewhere
    if any(isinstance(one, TensorBoardFigures) and not one.has_best for one in callbacks):
        for name in _MATRICES.keys() & tags.keys():
            tags[name].append(_MATRICES[name])
    for name, shown in tags.items():
        for tag in shown:
            board.add_image(tag, figures[name], max(step, 0), dataformats="HWC")
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.finalize("success")  # as in `log_hparams`


def _tag(name: str) -> str:
    split, _, rest = name.partition("_")
    return f"{split}/figures/{rest}"


def _hparams(config: TrainConfig) -> dict[str, Any]:
    """What tells runs apart at a glance, in few columns; config.yaml has everything.

    Components of the user's own are named by their target.
    """
    groups = {name: _short(getattr(config, name)) for name in ("loss", "optimizer", "scheduler")}
    values = {
        "model": getattr(config.model, "name", _short(config.model)),
        "seed": config.seed,
        "weights": getattr(config.model, "weights", None),
        "freeze": getattr(config.model, "freeze", None),
        "lr": getattr(config.optimizer, "lr", None),
        "weight_decay": getattr(config.optimizer, "weight_decay", None),
        "augment": {name: value for name, value in as_dict(config.augment).items() if value},
        "image_size": config.data.image_size,
        "batch_size": config.data.batch_size,
        "fold": config.data.fold,
        "max_epochs": config.trainer.max_epochs,
    }
    given = {name: value for name, value in (values | groups).items() if value is not None and value != {}}
    # TensorBoard shows every number with decimals, 96 pixels as 96.000 and yes as 1.0000
    return {name: value if isinstance(value, float | str) else str(value).lower() for name, value in given.items()}


def _short(component: Component | None) -> str:
    return "none" if component is None else target_of(component)[0].rpartition(".")[2]
