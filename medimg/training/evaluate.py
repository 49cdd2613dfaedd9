"""The end of a run: what the best epoch says of validation and test, as predictions and metrics."""

import logging
from collections.abc import Sequence
from typing import Any

import lightning as L
import numpy as np

from medimg.data.datamodule import ImageDataModule
from medimg.data.manifest import Manifest, Split
from medimg.evaluation.metrics import classification_metrics
from medimg.evaluation.predictions import Predictions
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


def write_evaluation(
    folder: RunFolder, predictions: dict[Split, Predictions], manifest: Manifest, best_epoch: int
) -> dict[str, Any]:
    """Writes `predictions/` and `results.json`, and returns the content of the latter."""
    results: dict[str, Any] = {
        "best_epoch": best_epoch,
        "split_unit": manifest.split_unit,
        "synthetic": manifest.synthetic,
    }
    for split, found in predictions.items():
        total = len(manifest.of(split))
        if len(found.paths) < total:
            log.warning(
                "only %d of the %d images of %s were evaluated: no score of the split", len(found.paths), total, split
            )
            results.setdefault("partial", {})[split] = [len(found.paths), total]
        results[split] = classification_metrics(found.logits, found.labels, found.classes, manifest.positive_class)
        if folder.writable:
            found.write_csv(folder.predictions(split))
    if folder.writable:
        write_json(folder.results_file, results)
    return results
