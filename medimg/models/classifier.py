"""ImageClassifier: the LightningModule around a backbone, the same step for train, validation and prediction."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import lightning as L
import msgspec
import numpy as np
import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from medimg.config import (
    AdamConfig,
    Component,
    CosineConfig,
    CrossEntropyConfig,
    LossConfig,
    MonitorConfig,
    OneCycleConfig,
    PlateauConfig,
)
from medimg.config.build import build
from medimg.config.check import admit, as_dict
from medimg.data.dataset import Batch
from medimg.data.preprocessing import Preprocessing, Region, Resizing
from medimg.errors import MedimgError
from medimg.evaluation.metrics import classification_metrics
from medimg.models.backbone import Backbone
from medimg.models.optimizers import make_optimizer
from medimg.models.trunk import being_loaded, join_trunk
from medimg.models.tta import TestTimeAugmentation


class Outputs(NamedTuple):
    """What the model says of some images: positions in the manifest [N], labels [N] and logits [N, classes]."""

    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    label: Tensor
    logits: Tensor


def gather(parts: Sequence[Outputs]) -> Outputs:
    """One table of all batches, and in distributed training of all processes, on the CPU in 32 bits."""
    # a process may have no images of a small split; torch.cat takes such an empty tensor beside any other
    parts = parts or [Outputs(torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0))]
    # the part of an epoch that was taken up in its middle is on the host
    columns = ([piece.to(column[-1].device) for piece in column] for column in zip(*parts, strict=True))
    index, label, logits = (torch.cat(column).cpu() for column in columns)
    table = Outputs(index, label, logits.float())
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return table
    tables: list[Outputs] = [table] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(tables, table)
    return Outputs(*(torch.cat(column) for column in zip(*tables, strict=True)))


class ImageClassifier(L.LightningModule):
    """A backbone with a new head, trained to tell `classes` apart.

    It takes images as 8-bit values, or as floats in 0..1, of shape [B, C, H, W], and normalises them itself; it gives
    logits of shape [B, classes]. Metrics are those of the whole split, computed once at its end.

    Args:
        model: which backbone, with which weights.
        classes: names, in the order of the logits.
        positive_class: which class of a binary task is the positive one.
        loss: what to minimise.
        class_weights: one for each class, for the loss; None: all alike.
        optimizer: over the parameters that are trained.
        scheduler: of the learning rate; None: it stays.
        monitor: what the plateau scheduler looks at.
        image_size: pixels, as in `data.image_size`; None: what the backbone was trained on.
        normalize: whether to subtract the backbone's mean and divide by its standard deviation.
        resize: how images get their size, as in `data.resize`.
        region: the part of the image that it gets to see, as in `data.region`.
        channels_last: the memory format that the backbone computes in, as `Backbone.lay_out` has it.
        load_weights: False where a checkpoint is about to fill them in.
        allow: targets of the user's own by group; a checkpoint's word is not enough to run code.

    The configurations may also come as plain dicts, as checkpoints hold them.
    """

    _scale: Tensor
    _shift: Tensor

    def __init__(  # noqa: PLR0913 - each by its name, as the checkpoint keeps them
        self,
        model: Component | dict[str, Any],
        classes: Sequence[str],
        *,
        positive_class: str | None = None,
        loss: Component | dict[str, Any] = CrossEntropyConfig(),  # noqa: B008 - frozen
        class_weights: Sequence[float] | None = None,
        optimizer: Component | dict[str, Any] = AdamConfig(),  # noqa: B008 - frozen
        scheduler: Component | dict[str, Any] | None = None,
        monitor: MonitorConfig | dict[str, Any] = MonitorConfig(),  # noqa: B008 - frozen
        image_size: int | Sequence[int] | None = None,
        normalize: bool = True,
        resize: Resizing = "stretch",
        region: Region = "whole",
        channels_last: bool = False,
        load_weights: bool = True,
        allow: dict[str, list[str]] | None = None,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.positive_class = positive_class
        self._optimizer = admit(optimizer, "optimizer", allow)
        self._scheduler = admit(scheduler, "scheduler", allow) if scheduler is not None else None
        self._monitor = monitor if isinstance(monitor, MonitorConfig) else msgspec.convert(monitor, MonitorConfig)
        model, loss = admit(model, "model", allow), admit(loss, "loss", allow)
        self.backbone: Backbone = build_backbone(model, len(self.classes), image_size, load_weights)
        self.backbone.lay_out(torch.channels_last if channels_last else torch.contiguous_format)
        preprocessing = replace(self.backbone.preprocessing, resizing=resize, region=region)
        self.preprocessing: Preprocessing = preprocessing if normalize else preprocessing.without_normalisation()
        # with the model on its device, and not in its checkpoints
        scale, shift = self.preprocessing.scale_and_shift()
        self.register_buffer("_scale", scale, persistent=False)
        self.register_buffer("_shift", shift, persistent=False)
        weight = {} if class_weights is None else {"weight": torch.tensor(class_weights)}
        self.criterion: nn.Module = build(
            loss, leave_out=("class_weights",) if isinstance(loss, LossConfig) else (), **weight
        )
        self.tta: TestTimeAugmentation | None = None  # of predictions; set by who asks for them
        self._outputs: dict[str, list[Outputs]] = {"train": [], "val": [], "test": []}
        # plain containers alone, so that torch.load(..., weights_only=True) can read the checkpoint
        self.save_hyperparameters(
            {
                "model": as_dict(model),
                "classes": list(self.classes),
                "positive_class": positive_class,
                "loss": as_dict(loss),
                "class_weights": None if class_weights is None else list(class_weights),
                "optimizer": as_dict(self._optimizer),
                "scheduler": as_dict(self._scheduler) if self._scheduler is not None else None,
                "monitor": as_dict(self._monitor),
                "image_size": image_size if image_size is None or isinstance(image_size, int) else list(image_size),
                "normalize": normalize,
                "resize": resize,
                "region": region,
                "channels_last": channels_last,
                "load_weights": False,
            },
            logger=False,
        )

    @classmethod
    def load_from_checkpoint(cls, checkpoint_path: Any, *arguments: Any, **named: Any) -> Self:
        """Lightning's own, with its arguments; the weights of a frozen trunk come from the file beside the checkpoint.

        Raises:
            RequestError: that file is missing or another one.
        """
        token = being_loaded.set(checkpoint_path)
        try:
            return super().load_from_checkpoint(checkpoint_path, *arguments, **named)
        finally:
            being_loaded.reset(token)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, C, H, W], 8-bit or in 0..1."""
        logits: Tensor = self.backbone(self._input(images))
        return logits

    def features(self, images: Tensor) -> Tensor:
        """What the trunk makes of images as `forward` takes them, float32 [B, ...]: what a batch's `features` are."""
        return self.backbone.features(self._input(images)).float()

    def example(self) -> Tensor:
        """One black image as `forward` takes it, uint8 [1, C, H, W]."""
        shape = (1, self.preprocessing.channels, self.preprocessing.height, self.preprocessing.width)
        return torch.zeros(shape, dtype=torch.uint8, device=self.device)

    def _input(self, images: Tensor) -> Tensor:
        return self.preprocessing.normalise(images, (self._scale, self._shift))

    def _logits(self, batch: Batch) -> Tensor:
        """Of features where the batch has them: the trunk has run already."""
        if batch.features is None:
            return self(batch.image)  # type: ignore[no-any-return]
        logits: Tensor = self.backbone.head(batch.features).flatten(1)
        return logits

    def loss_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and the logits [B, classes] that it is made of."""
        logits = self._logits(batch)
        return self.criterion(logits, batch.label), logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch; dropout depends on the step alone, not on what ran before."""
        loss, logits = self.loss_of(batch)
        self._keep("train", batch, logits)
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by Lightning elsewhere
        if every and (self.global_step + 1) % every == 0:  # Lightning throws others away, and takes its time for it
            self.log("train/loss_step", loss.detach(), on_step=True, on_epoch=False, batch_size=len(batch.label))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keeps what the epoch's metrics are made of."""
        self._keep("val", batch, self._logits(batch))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keeps what the metrics are made of."""
        self._keep("test", batch, self._logits(batch))

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Outputs:
        """What the model says of a batch, of varied views as well where `tta` is set."""
        if self.tta is None:
            return Outputs(batch.index, batch.label, self._logits(batch).float())
        return Outputs(batch.index, batch.label, self.tta.logits(self, batch.image, batch.index).float())

    def on_validation_epoch_start(self) -> None:
        """Starts the epoch's table anew."""
        self._outputs["val"].clear()

    def on_test_epoch_start(self) -> None:
        """Starts the table anew."""
        self._outputs["test"].clear()

    def on_train_epoch_start(self) -> None:
        """Starts the epoch's table anew."""
        self._outputs["train"].clear()

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics of the whole validation split, and lets a plateau schedule look at them."""
        metrics = self._log_epoch("val")
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self._step_plateau(metrics)

    def on_test_epoch_end(self) -> None:
        """Logs the metrics of the whole test split."""
        self._log_epoch("test")

    def on_train_epoch_end(self) -> None:
        """Logs the metrics of the whole train split, as it was seen during the epoch."""
        self._log_epoch("train")
        self._outputs["train"].clear()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keeps what an epoch that is not over has shown so far, so that its metrics will be of the whole epoch."""
        seen = gather(self._outputs["train"])
        if len(seen.label):
            checkpoint["epoch_so_far"] = seen._asdict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The reverse of `on_save_checkpoint`. One process is enough: they are put together at the epoch's end."""
        join_trunk(checkpoint, being_loaded.get() or (self._trainer and self._trainer.ckpt_path))
        if "epoch_so_far" in checkpoint and self.global_rank == 0:
            self._outputs["train"] = [Outputs(**checkpoint["epoch_so_far"])]

    def epoch_outputs(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Labels [N] and logits [N, classes] of the epoch that is ending, of all processes."""
        outputs = gather(self._outputs[split])
        return outputs.label.numpy(), outputs.logits.numpy()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer over the trained parameters, and its schedule."""
        optimizer = make_optimizer(self._optimizer, self.parameters(), unscaled=self._gradients_are_unscaled())
        if self._scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": self._schedule(optimizer)}

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        """Steps a schedule, but a plateau schedule, which has had its step when validation ended.

        Lightning comes here only after it has written the epoch's checkpoint, and a run that is taken up from there
        would lack the step.
        """
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def _step_plateau(self, metrics: dict[str, float]) -> None:
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau) and config.monitor in metrics:
                config.scheduler.step(metrics[config.monitor])

    def _schedule(self, optimizer: torch.optim.Optimizer) -> Any:
        """The schedule as Lightning takes it; some need what only the trainer knows."""
        scheduler = self._scheduler
        if scheduler is None:
            raise RuntimeError("no scheduler")
        steps = int(self.trainer.estimated_stepping_batches)
        if isinstance(scheduler, CosineConfig):
            per_epoch = steps / max(1, self.trainer.max_epochs or 1)
            built = build(
                scheduler,
                optimizer,
                leave_out=("warmup_epochs",),
                total_steps=steps,
                warmup_steps=round(scheduler.warmup_epochs * per_epoch),
            )
            return {"scheduler": built, "interval": "step"}
        if isinstance(scheduler, OneCycleConfig):
            max_lr = scheduler.max_lr or optimizer.param_groups[0]["lr"]
            return {"scheduler": build(scheduler, optimizer, total_steps=steps, max_lr=max_lr), "interval": "step"}
        if isinstance(scheduler, PlateauConfig):
            built = build(scheduler, optimizer, mode=self._monitor.mode)
            return {"scheduler": built, "interval": "epoch", "monitor": self._monitor.metric, "strict": False}
        return {"scheduler": build(scheduler, optimizer), "interval": "epoch"}

    def _gradients_are_unscaled(self) -> bool:
        """Whether gradients of 16 bits get their scale back before the optimizer's step, to be clipped."""
        trainer = self._trainer  # None where somebody asks for the optimizer alone
        return trainer is not None and trainer.precision == "16-mixed" and bool(trainer.gradient_clip_val)

    def _keep(self, split: str, batch: Batch, logits: Tensor) -> None:
        # copied: a compiled backbone may write its next logits in the same place
        self._outputs[split].append(Outputs(batch.index, batch.label, logits.detach().clone()))

    def _log_epoch(self, split: str) -> dict[str, float]:
        labels, logits = self.epoch_outputs(split)
        with torch.no_grad():
            tensors = (torch.from_numpy(array).to(self.device) for array in (logits, labels))
            loss = float(self.criterion(*tensors))
        if not math.isfinite(loss):
            raise MedimgError(
                f"the {split} loss is not finite at the end of epoch {self.current_epoch}\n"
                "  likely cures: a smaller optimizer.lr, trainer.gradient_clip_val=1.0, trainer.precision=32-true"
            )
        found = {"loss": loss} | classification_metrics(logits, labels, self.classes, self.positive_class)
        metrics = {f"{split}/{name}": value for name, value in found.items()}
        self.log_dict(metrics, batch_size=len(labels))
        return metrics


def build_backbone(
    model: Component, num_classes: int, image_size: int | Sequence[int] | None, load_weights: bool
) -> Backbone:
    """The backbone that a model configuration stands for.

    The target is called as `target(config, num_classes, image_size, load_weights)`; one of the user's own gets a
    `Custom` and finds its arguments in `config.arguments`.
    """
    from medimg.config.build import locate
    from medimg.config.check import target_of

    target, _ = target_of(model)
    size = image_size if image_size is None or isinstance(image_size, int) else (image_size[0], image_size[1])
    backbone: Backbone = locate(target)(model, num_classes, size, load_weights)
    return backbone
