"""Evaluates a trained run again: another checkpoint, split or data set, or the same in another process."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medimg.config.check import Allowed
from medimg.data.manifest import Manifest, Split
from medimg.errors import RequestError
from medimg.evaluation.fitting import Fitted, fit
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.sample import Sample
from medimg.inference.images import Images, asked_images, own_images, run_config
from medimg.inference.loading import load_classifier
from medimg.inference.tables import known_table, predicted_table
from medimg.models.classifier import ImageClassifier
from medimg.models.tta import TestTimeAugmentation
from medimg.runs import RunFolder
from medimg.runs.lock import locked
from medimg.training.checkpoint_files import read_checkpoint
from medimg.training.evaluate import ResultsWriter, sample_of
from medimg.training.trainer import predicting_trainer

log = logging.getLogger(__name__)

_ORDER: tuple[Split, ...] = ("val", "train", "test")  # validation first: the others need what is fitted on it


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of a run, by the name that its evaluation goes under."""

    name: str
    file: Path
    epoch: int


@dataclass(frozen=True)
class Evaluated:
    """One evaluation: where it was written, the content of its results.json, and what that was computed from."""

    folder: RunFolder
    checkpoint: Checkpoint
    results: dict[str, Any]
    samples: Mapping[str, Sample]
    manifest: Manifest


def evaluate_run(
    folder: RunFolder,
    *,
    checkpoint: str = "best",
    split: Split = "test",
    values: Mapping[str, Any] | None = None,
    allow: Allowed | None = None,
    tta: TestTimeAugmentation | None = None,
) -> list[Evaluated]:
    """Evaluates a run's checkpoint, or with `all` every epoch that was kept, and writes predictions and results.

    The best checkpoint on the run's own images goes into the run's own files; anything else goes below
    `evaluations/`. Thresholds and temperature are chosen on the run's own validation split, by the same checkpoint.

    Args:
        folder: of the run.
        checkpoint: `best`, `last`, `all`, or a file.
        split: of the images.
        values: values for keys of the run's configuration; `data.root` for other images.
        allow: targets of the user's own, by group.
        tta: how to vary images; None: each is looked at once, as it is.

    Raises:
        RequestError: there is no such checkpoint or split, or the images do not go with the run.
    """
    images = asked_images(folder, split, values or {}, allow)
    evaluator = Evaluator(folder, images, allow, tta)
    return [evaluator.evaluate(one, split) for one in checkpoints_of(folder, checkpoint)]


def checkpoints_of(folder: RunFolder, which: str) -> list[Checkpoint]:
    """The checkpoints that `checkpoint=` names, in the order of their epochs.

    Raises:
        RequestError: there is none.
    """
    if which == "all":
        files = sorted(folder.checkpoints.glob("epoch_*.ckpt"))
        if not files:
            raise RequestError(
                f"{folder.shown} has kept no epoch but the best and the last\n"
                "  callbacks.checkpoint.every_epoch=true keeps all, when it is trained"
            )
        return [_checkpoint(folder, file) for file in files]
    named = {"best": folder.best, "last": folder.last}.get(which)
    return [_checkpoint(folder, named or Path(which).expanduser())]


def _checkpoint(folder: RunFolder, file: Path) -> Checkpoint:
    content = read_checkpoint(file, folder.info().get("classes"))
    own = file.absolute().parent == folder.checkpoints
    mark = "" if own else f"-{hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:8]}"
    return Checkpoint(f"{file.stem}{mark}", file, int(content["epoch"]))


class Evaluator:
    """A run's model, to be evaluated with one or many of its checkpoints on the same images.

    Args:
        folder: of the run.
        images: to evaluate on.
        allow: targets of the user's own, by group.
        tta: how to vary images.
    """

    def __init__(
        self, folder: RunFolder, images: Images, allow: Allowed | None, tta: TestTimeAugmentation | None
    ) -> None:
        self.folder, self.images, self.allow, self.tta = folder, images, allow, tta
        self.trainer = predicting_trainer(images.config.trainer, folder.path)

    def evaluate(self, checkpoint: Checkpoint, split: Split) -> Evaluated:
        """Predicts and writes; the tables of other splits that stand beside it are kept."""
        classifier = load_classifier(self.folder, checkpoint.file, allow=self.allow)
        classifier.tta = self.tta
        home = self._place(checkpoint, None)  # of the run's own images
        place = self._place(checkpoint, self.images.name)
        with locked(place.path):
            if place == home:
                writer = self._writer(place, checkpoint, None)
                for other, table in self._tables(home, classifier, self.images, checkpoint, split):
                    writer.add(other, table)
            else:
                writer = self._writer(place, checkpoint, self._fitted(home, classifier, checkpoint))
                writer.add(split, predicted_table(self.trainer, classifier, self.images, split))
        return Evaluated(place, checkpoint, writer.results, writer.samples, self.images.manifest)

    def _place(self, checkpoint: Checkpoint, images: str | None) -> RunFolder:
        """Where an evaluation goes: the run's own files, or a folder named by what is not the run's own."""
        parts = [None if checkpoint.name == "best" else checkpoint.name, images, self.tta and self.tta.name]
        what = "_".join(part for part in parts if part)
        return RunFolder(self.folder.path / "evaluations" / what) if what else self.folder

    def _writer(self, place: RunFolder, checkpoint: Checkpoint, fitted: Fitted | None) -> ResultsWriter:
        config = self.images.config
        others = self.images.name is not None
        return ResultsWriter(
            place, self.images.manifest, config.evaluation, checkpoint.epoch, fitted, other_images=others
        )

    def _tables(
        self, place: RunFolder, classifier: ImageClassifier, images: Images, checkpoint: Checkpoint, split: Split | None
    ) -> Iterator[tuple[Split, Predictions]]:
        """The asked split and validation, and what else was predicted by this checkpoint before."""
        for other in _ORDER:
            known = None if other == split else known_table(place, checkpoint.epoch, images.manifest, other)
            if known is not None:
                yield other, known
            elif other == split or (other == "val" and images.manifest.of("val")):
                yield other, predicted_table(self.trainer, classifier, images, other)

    def _fitted(self, home: RunFolder, classifier: ImageClassifier, checkpoint: Checkpoint) -> Fitted:
        """Thresholds and temperature for other images: from validation of the run, by the same checkpoint."""
        settings = self.images.config.evaluation
        positive = self.images.manifest.positive_class
        try:
            config = run_config(self.folder, {}, self.allow)
            own = Images(own_images(self.folder, config), config)
        except RequestError as error:
            log.warning("%s\n  so no thresholds and no temperature: they are fitted on the run's own validation", error)
            return fit(None, settings, positive)
        for split, table in self._tables(home, classifier, own, checkpoint, None):
            if split == "val":
                return fit(sample_of(table, own.manifest, "val"), settings, positive)
        return fit(None, settings, positive)
