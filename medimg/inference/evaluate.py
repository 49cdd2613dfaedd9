"""Evaluates a trained run again: another checkpoint, split or data set, or the same in another process."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medimg.config.check import Allowed
from medimg.data.manifest import Manifest, Split
from medimg.errors import RequestError
from medimg.evaluation.fitting import Fitted, fit
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.sample import Sample
from medimg.files import sha256
from medimg.inference.images import Images, asked_images, own_images, run_config
from medimg.inference.loading import load_classifier
from medimg.inference.places import checkpoint_name, place_of
from medimg.inference.tables import known_table, predicted_table
from medimg.models.classifier import ImageClassifier
from medimg.models.tta import TestTimeAugmentation
from medimg.runs import RunFolder
from medimg.runs.checkpoints import find_checkpoints
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
    digest: str


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
        checkpoint: `best`, `last`, `all`, a kept epoch such as `epoch_001`, or a file.
        split: of the images.
        values: values for keys of the run's configuration; `data.root` for other images.
        allow: targets of the user's own, by group.
        tta: how to vary images; None: each is looked at once, as it is.

    Raises:
        RequestError: there is no such checkpoint or split, or the images do not go with the run.
    """
    files = find_checkpoints(folder, checkpoint)
    return evaluate_on(asked_images(folder, split, values or {}, allow), folder, files, split, allow=allow, tta=tta)


def evaluate_on(
    images: Images,
    folder: RunFolder,
    files: Sequence[Path],
    split: Split,
    *,
    allow: Allowed | None = None,
    tta: TestTimeAugmentation | None = None,
) -> list[Evaluated]:
    """The same for what was asked for and found: see `asked_images` and `find_checkpoints`."""
    evaluator = Evaluator(folder, images, allow, tta)
    return [evaluator.evaluate(checkpoint_of(folder, file), split) for file in files]


def checkpoint_of(folder: RunFolder, file: Path) -> Checkpoint:
    """A checkpoint of a run.

    Raises:
        RequestError: it is none, of other classes, or of a run with other images or another split.
    """
    content = read_checkpoint(file, folder.info().get("classes"))
    trained_on = content.get("run", {}).get("data_fingerprint")
    elsewhere = file.resolve().parent != folder.checkpoints.resolve()
    if elsewhere and (trained_on is None or trained_on != folder.info().get("data_fingerprint")):
        raise RequestError(
            f"{file} is of another run, whose images or split were others: it may have been trained on these\n"
            "  medimg evaluate run=... of its own run"
        )
    return Checkpoint(checkpoint_name(folder, file), file, int(content["epoch"]), sha256(file))


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
            writer.write()  # all at once: what fails before leaves what was there
        return Evaluated(place, checkpoint, writer.results, writer.samples, self.images.manifest)

    def _place(self, checkpoint: Checkpoint, images: str | None) -> RunFolder:
        return place_of(self.folder, checkpoint.name, images, None if self.tta is None else self.tta.name)

    def _writer(self, place: RunFolder, checkpoint: Checkpoint, fitted: Fitted | None) -> ResultsWriter:
        return ResultsWriter(
            place,
            self.images.manifest,
            self.images.config.evaluation,
            epoch=checkpoint.epoch,
            checkpoint=checkpoint.digest,
            fitted=fitted,
            other_images=self.images.name is not None,
        )

    def _tables(
        self, place: RunFolder, classifier: ImageClassifier, images: Images, checkpoint: Checkpoint, split: Split | None
    ) -> Iterator[tuple[Split, Predictions]]:
        """The asked split and validation, and what else was predicted by this checkpoint before."""
        for other in _ORDER:
            known = None
            if other != split:
                known = known_table(place, checkpoint.epoch, checkpoint.digest, images.manifest, other)
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
