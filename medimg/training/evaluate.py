"""What a classifier says of the splits of a data module, as predictions tables and with what is known of the images."""

import logging
from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np

from medimg.config.check import as_dict
from medimg.config.evaluation import EvaluationConfig
from medimg.data.datamodule import ImageDataModule
from medimg.data.manifest import Manifest, Split
from medimg.evaluation.fitting import Fitted, fit
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.results import results_of
from medimg.evaluation.sample import Sample
from medimg.evaluation.summary import summary
from medimg.files import write_json
from medimg.models.classifier import ImageClassifier, Outputs, gather
from medimg.runs import RunFolder

log = logging.getLogger(__name__)


def predict(
    trainer: L.Trainer, classifier: ImageClassifier, data: ImageDataModule, splits: Sequence[Split]
) -> dict[Split, Predictions]:
    """The predictions table of each split, from the classifier as it is."""
    if not splits:
        return {}
    data.predict_splits = splits
    batches: Any = trainer.predict(classifier, datamodule=data, return_predictions=True)
    # nothing comes back in a process that has no images; it takes part in the gathering all the same
    by_split: list[list[Outputs]] = (batches if len(splits) > 1 else [batches]) or [[] for _ in splits]
    return {split: table(gather(parts or []), data.manifest) for split, parts in zip(splits, by_split, strict=True)}


def table(outputs: Outputs, manifest: Manifest) -> Predictions:
    """The outputs with what the manifest says of each image, in the manifest's order."""
    order = np.argsort(outputs.index.numpy(), kind="stable")
    records = [manifest.records[position] for position in outputs.index.numpy()[order]]
    return Predictions(
        paths=tuple(record.path for record in records),
        patient_ids=tuple(record.patient_id for record in records),
        labels=outputs.label.numpy()[order],
        logits=outputs.logits.numpy()[order],
        classes=manifest.classes,
    )


def sample_of(predictions: Predictions, manifest: Manifest, split: Split) -> Sample:
    """The table with what the manifest says of its images; a warning where it has not all of the split."""
    records = {record.path: record for record in manifest.of(split)}
    rows = [records[path] for path in predictions.paths]
    if len(rows) < len(records):
        log.warning(
            "only %d of the %d images of %s were evaluated: no score of the split", len(rows), len(records), split
        )
    names = sorted({name for row in rows for name in row.columns})
    return Sample(
        predictions,
        positive=manifest.positive_class,
        groups=tuple(row.group for row in rows),
        columns={name: tuple(row.columns.get(name, "") for row in rows) for name in names},
        total=len(records),
    )


class ResultsWriter:
    """Computes what there is to say of predictions, split by split, and writes it with their tables when it is told to.

    Validation goes first: thresholds and temperature are fitted on it, unless they are given.

    Args:
        folder: to write to.
        manifest: the images.
        settings: of the evaluation.
        epoch: of the checkpoint; None: there is no single one.
        checkpoint: SHA-256 of the checkpoint, so that nothing of another one passes for it.
        fitted: thresholds and temperature, where they do not come from this folder's own validation.
        other_images: they were not split from what the model was trained on; `split_unit` is then null.
    """

    def __init__(
        self,
        folder: RunFolder,
        manifest: Manifest,
        settings: EvaluationConfig,
        *,
        epoch: int | None,
        checkpoint: str | None = None,
        fitted: Fitted | None = None,
        other_images: bool = False,
    ) -> None:
        self.folder, self.manifest, self.settings = folder, manifest, settings
        self.facts = {
            "best_epoch": epoch,
            "checkpoint_sha256": checkpoint,
            "split_unit": None if other_images else manifest.split_unit,
            "synthetic": manifest.synthetic,
            "settings": as_dict(settings),
        }
        self.fitted = fitted or fit(None, settings, manifest.positive_class)
        self._fits = fitted is None
        self.samples: dict[str, Sample] = {}
        self._summaries: dict[str, dict[str, Any]] = {}

    def add(self, split: Split, predictions: Predictions) -> None:
        """Computes what a split's table says."""
        sample = self.samples[split] = sample_of(predictions, self.manifest, split)
        if split == "val" and self._fits:
            self.fitted = fit(sample, self.settings, sample.positive)
        self._summaries[split] = summary(sample, self.fitted, self.settings)

    @property
    def results(self) -> dict[str, Any]:
        """The content of results.json."""
        return results_of(self._summaries, self.fitted, self.facts)

    def write(self) -> None:
        """Writes the tables of all splits, and then the results."""
        if self.folder.writable:
            for split, sample in self.samples.items():
                sample.predictions.write_csv(self.folder.predictions(split))
            write_json(self.folder.results_file, self.results)
