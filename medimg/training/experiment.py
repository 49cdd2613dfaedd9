"""The parts of a run put together: data module, classifier and trainer, and what is done with them."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping
from tqdm.contrib.logging import logging_redirect_tqdm

from medimg.config import LossConfig, PlateauConfig, TorchvisionConfig, TrainConfig
from medimg.config.build import locate
from medimg.config.check import as_dict, target_of
from medimg.data.datamodule import ImageDataModule
from medimg.data.manifest import Manifest, Split
from medimg.errors import Interrupted, RequestError, suggestion
from medimg.evaluation.sample import Sample
from medimg.files import link, sha256
from medimg.models.classifier import ImageClassifier
from medimg.models.losses import class_weights
from medimg.runs import RunFolder
from medimg.training.check_start import check_start
from medimg.training.checkpoint_callbacks import RunIdentity
from medimg.training.checkpoint_files import Position, read_checkpoint
from medimg.training.epoch_table import EpochTable
from medimg.training.evaluate import ResultsWriter, predict
from medimg.training.features import use_features
from medimg.training.hardware import channels_last, compiled
from medimg.training.init_from import init_from
from medimg.training.interrupts import Interrupts
from medimg.training.report import report_run
from medimg.training.tensorboard import RunTensorBoard, log_figures, log_hparams
from medimg.training.trainer import callbacks_of, make_trainer

log = logging.getLogger(__name__)


class Experiment:
    """One run's data module, classifier and trainer.

    Args:
        config: checked.
        folder: where the run writes.
        manifest: the images and their split.
        interrupts: where signals are noted while it trains.
        load_weights: False where a checkpoint is about to fill them in.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        manifest: Manifest,
        interrupts: Interrupts | None = None,
        *,
        load_weights: bool,
    ) -> None:
        self.config, self.folder, self.manifest = config, folder, manifest
        self.interrupts = interrupts or Interrupts()
        self.has_validation = bool(manifest.of("val"))
        self._check_monitor()
        if isinstance(config.scheduler, PlateauConfig) and not self.has_validation:
            raise RequestError("scheduler=plateau needs a validation split\n  data.val_fraction=0.2 cuts one off")
        if not self.has_validation:
            log.warning("no validation split: nothing is selected, and the last epoch counts as the best")
        # the same weights for the same seed, whatever was computed before
        L.seed_everything(config.seed, workers=True, verbose=False)
        self.class_weights = self._class_weights()
        self.classifier = self._classifier(load_weights and not self._init_from)
        if load_weights and self._init_from:
            init_from(self.classifier, self._init_from)
        self.data: ImageDataModule = locate(target_of(config.data)[0])(
            config.data,
            augmentation=config.augment,
            preprocessing=self.classifier.preprocessing,
            seed=config.seed,
            cache=Path(config.paths.cache).expanduser(),
            manifest=manifest,
            same_batches=config.trainer.overfit_batches > 0,
        )
        self.identity = RunIdentity(as_dict(config), manifest.fingerprint())
        self.trainer = make_trainer(config, folder, self.has_validation, self.interrupts, self.identity)
        use_features(self.data, self.classifier, self.trainer, config, self._end_if_asked)
        self.start = Position(0, 0, 0)
        self.seconds_before = 0.0
        self.samples: dict[str, Sample] = {}
        self.best_step = 0

    def facts(self) -> dict[str, Any]:
        """What run.json says of the model and the device."""
        counts = [(parameter.numel(), parameter.requires_grad) for parameter in self.classifier.parameters()]
        return {
            "device": _device_name(self.trainer),
            "precision": str(self.trainer.precision),
            "channels_last": channels_last(self.config),
            "compile": False if self.data.features is not None else self.config.trainer.compile,
            "preprocessing": self.classifier.preprocessing.as_dict(),
            "class_weights": self._named_weights(),
            "parameters": {
                "total": sum(number for number, _ in counts),
                "trained": sum(number for number, trained in counts if trained),
            },
        }

    def start_from(self, checkpoint: Path, force: Collection[str] = ()) -> None:
        """Makes sure that training can go on from a checkpoint's full state, before anything is written.

        Args:
            checkpoint: of this run, or of another with the same model, optimizer and schedule.
            force: keys of settings that may differ from those that the run's own checkpoint was made with.

        Raises:
            RequestError: the checkpoint cannot be read, or is of another training; the message says what differs.
        """
        content = read_checkpoint(checkpoint, self.manifest.classes)
        self.start = check_start(
            content,
            checkpoint,
            config=as_dict(self.config),
            classifier=self.classifier,
            identity=self.identity.of(self.trainer),
            run=self.folder if checkpoint == self.folder.last else None,
            force=force,
        )
        self.seconds_before = self.identity.seconds = float(content.get("run", {}).get("seconds", 0.0))

    def fit(self, checkpoint: Path | None) -> None:
        """Trains, from a checkpoint's full state where one is given, which `start_from` has looked at.

        Raises:
            Interrupted: a signal came; the state of the last optimizer step is saved.
        """
        start = self.start
        self.data.start_at(start.epoch, start.batches)
        for callback in callbacks_of(self.trainer, EpochTable):
            callback.start_at(start.epoch)
        for logger in self.trainer.loggers:
            if isinstance(logger, RunTensorBoard):
                logger.start_at(start.steps)
        self._say_what_is_trained()
        if start.steps:
            inside = f", after {start.batches} of its batches" if start.batches else ""
            log.info("going on at epoch %d%s, from %s", start.epoch, inside, checkpoint)
        try:
            with (
                self.interrupts.deferred(),
                logging_redirect_tqdm(),  # log lines go above the progress bar
                compiled(self.classifier.backbone, self.config.trainer.compile),
            ):
                self.trainer.fit(self.classifier, datamodule=self.data, ckpt_path=checkpoint, weights_only=True)
        except MisconfigurationException as error:
            raise RequestError(f"the trainer refuses: {error}\n  see the trainer.* and callbacks.* keys") from error
        self._say_if_stopped_early()
        self._settle_best()

    def _end_if_asked(self) -> None:
        if self.interrupts.noted is not None:
            raise Interrupted(self.interrupts.noted)

    def _say_if_stopped_early(self) -> None:
        done = self.trainer.current_epoch
        if self.trainer.should_stop and done < self.config.trainer.max_epochs:
            log.info("stopped early, after epoch %d", done - 1)
        patient = callbacks_of(self.trainer, EarlyStopping)
        self.folder.update(stopped_early=any(callback.stopped_epoch for callback in patient))

    def evaluate(self, splits: Sequence[Split]) -> dict[str, Any]:
        """Evaluates the best epoch and writes predictions and results; returns the content of results.json."""
        best = read_checkpoint(self.folder.best, self.manifest.classes)
        self.classifier.load_state_dict(best["state_dict"])
        settings, digest = self.config.evaluation, sha256(self.folder.best)
        writer = ResultsWriter(self.folder, self.manifest, settings, epoch=int(best["epoch"]), checkpoint=digest)
        writer.write()
        for split in [split for split in splits if self.manifest.of(split)]:
            # one by one: what is bad in test costs nothing of validation
            writer.add(split, predict(self.trainer, self.classifier, self.data, [split])[split])
            writer.write()
        self.samples, self.best_step = writer.samples, int(best["global_step"])
        results = writer.results
        if "val" in results and "val" not in results.get("partial", {}):
            (epochs,) = callbacks_of(self.trainer, EpochTable)
            loss = epochs.rows.get(results["best_epoch"], {}).get("val/loss")
            log_hparams(self.trainer, self.config, results["val"] | ({} if loss is None else {"loss": loss}))
        return results

    def report(self) -> None:
        """Writes the report of what was evaluated, and shows its figures in TensorBoard at the best epoch's step."""
        if self.folder.writable:
            pictures = report_run(self.folder, self.classifier, self.manifest, self.samples)
            log_figures(self.trainer, {name: picture.pixels for name, picture in pictures.items()}, self.best_step - 1)

    def _settle_best(self) -> None:
        """Without a validation the last epoch is the best: there is nothing to choose by."""
        missing = self.trainer.strategy.broadcast(not self.folder.last.is_file())
        if missing:  # of all processes, as saving is
            self.trainer.save_checkpoint(self.folder.last)
        if self.trainer.is_global_zero and not (self.has_validation and self.folder.best.is_file()):
            if self.has_validation:
                log.warning("training ended before the first validation: the last weights count as the best")
            link(self.folder.last, self.folder.best)
        self.trainer.strategy.barrier()

    def _check_monitor(self) -> None:
        """Only the data tell which classes there are to monitor."""
        metric = self.config.monitor.metric
        name = metric.partition("/")[2].partition("/")[2]
        if name and name not in self.manifest.classes:
            raise RequestError(
                f"monitor.metric={metric}: there is no class {name!r}. {suggestion(name, self.manifest.classes)}\n"
                f"  classes: {', '.join(self.manifest.classes)}"
            )

    @property
    def _init_from(self) -> str | None:
        return getattr(self.config.model, "init_from", None)

    def _classifier(self, load_weights: bool) -> ImageClassifier:
        config = self.config
        model = config.model
        if isinstance(model, TorchvisionConfig) and not (model.weights or model.init_from) and model.freeze:
            log.warning("model.weights=null with model.freeze: the head is trained on random features")
        return ImageClassifier(
            model,
            self.manifest.classes,
            positive_class=self.manifest.positive_class,
            loss=config.loss,
            class_weights=self.class_weights,
            optimizer=config.optimizer,
            scheduler=config.scheduler,
            monitor=config.monitor,
            image_size=config.data.image_size,
            normalize=config.data.normalize,
            resize=config.data.resize,
            region=config.data.region,
            channels_last=channels_last(config),
            load_weights=load_weights,
        )

    def _class_weights(self) -> list[float] | None:
        """From the train split only."""
        if not isinstance(self.config.loss, LossConfig):
            return None
        labels = [record.label for record in self.manifest.of("train")]
        weights = class_weights(self.config.loss.class_weights, self.manifest.classes, labels)
        return None if weights is None else [float(weight) for weight in weights]

    def _named_weights(self) -> dict[str, float] | None:
        if self.class_weights is None:
            return None
        return dict(zip(self.manifest.classes, self.class_weights, strict=True))

    def _say_what_is_trained(self) -> None:
        facts = self.facts()
        log.info(
            "%s on %s in %s: %s of %s parameters are trained; run folder %s",
            getattr(self.config.model, "name", "model"),
            facts["device"],
            facts["precision"],
            f"{facts['parameters']['trained']:,}",
            f"{facts['parameters']['total']:,}",
            self.folder.shown,
        )
        if self.config.trainer.compile is not False and self.data.features is not None:
            log.info(
                "trainer.compile has nothing to do: the head alone is trained, on kept features of the frozen trunk"
            )
        elif self.config.trainer.compile is not False:
            log.info("compiling the backbone in the first steps, which can take minutes")


def _device_name(trainer: L.Trainer) -> str:
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
