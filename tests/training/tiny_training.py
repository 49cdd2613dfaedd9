"""Training without images on disk: batches made up in memory, and the trainer as a run has it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from medimg.config import TrainConfig
from medimg.config.check import as_dict, check
from medimg.config.compose import load
from medimg.data.dataset import Batch
from medimg.models import ImageClassifier
from medimg.runs import RunFolder
from medimg.training.trainer import make_trainer

CLASSES = ("a", "b")
SGD = {"_target_": "torch.optim.SGD", "lr": 0.1, "momentum": 0.5}


@cache
def _plain() -> dict[str, Any]:
    overrides = ["data=covid_phantom", "model.widths=[4]", "data.num_workers=0", "trainer.accelerator=cpu"]
    quiet = ["logger=none", "callbacks.figures=null", "callbacks.learning_rate=null"]
    return as_dict(load([*overrides, *quiet, "trainer.enable_progress_bar=false", "trainer.max_epochs=1"]))


def configured(changes: dict[str, Any] | None = None, allow: dict[str, list[str]] | None = None) -> TrainConfig:
    """A checked configuration of one epoch and no more, but for what is given by dotted key."""
    raw: dict[str, Any] = torch.utils._pytree.tree_map(lambda leaf: leaf, _plain())
    for key, value in (changes or {}).items():
        node, names = raw, key.split(".")
        for name in names[:-1]:
            node = node[name]
        node[names[-1]] = value
    return check(raw, allow)


def loader(made: list[Batch]) -> DataLoader[Batch]:
    """What Lightning takes for one loader; it takes a list for several."""
    return DataLoader(made, batch_size=None, collate_fn=lambda batch: batch)  # type: ignore[arg-type]


def batches(count: int, size: int = 4, seed: int = 0) -> list[Batch]:
    """Noise of 8 by 8 pixels in 0..1, whose brightness tells the class."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        label = torch.arange(size) % 2
        image = torch.rand(size, 3, 8, 8, generator=generator) * 0.5 + label[:, None, None, None] * 0.5
        made.append(Batch(image, label, number * size + torch.arange(size)))
    return made


def classifier(config: TrainConfig, allow: dict[str, list[str]] | None = None) -> ImageClassifier:
    """The model of the configuration, its weights from the seed."""
    torch.manual_seed(config.seed)
    parts = {name: getattr(config, name) for name in ("loss", "optimizer", "scheduler", "monitor")}
    return ImageClassifier(config.model, CLASSES, image_size=8, allow=allow, **parts)


def fit(
    config: TrainConfig,
    home: Path,
    *watchers: Callback,
    train: int = 3,
    model: ImageClassifier | None = None,
    checkpoint: Path | None = None,
) -> tuple[L.Trainer, ImageClassifier]:
    """Trains on this many batches with the trainer of a run; validates on two others."""
    trainer = make_trainer(config, RunFolder(home), has_validation=True)
    trainer.callbacks[:0] = watchers  # before the checkpoints
    model = model or classifier(config)
    trainer.fit(model, loader(batches(train)), loader(batches(2, seed=1)), ckpt_path=checkpoint, weights_only=True)
    return trainer, model


class LearningRates(Callback):
    """Notes the learning rate of each batch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: L.Trainer, *_: object) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


@contextmanager
def logging_as_before() -> Iterator[None]:
    """Within it, logging may be set up in any way; the handlers and levels of before come back."""
    loggers = [logging.getLogger(name) for name in (None, "medimg")]
    before = [(logger.level, logger.handlers[:]) for logger in loggers]
    yield
    for logger, (level, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.handlers[:] = handlers
