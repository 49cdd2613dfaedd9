"""The predictions table of a trained model on a split: the one that is there already, or a new one."""

from pathlib import Path

import lightning as L
import msgspec

from medimg.config import AugmentConfig
from medimg.config.build import locate
from medimg.config.check import target_of
from medimg.data.datamodule import ImageDataModule
from medimg.data.manifest import Manifest, Split
from medimg.evaluation.predictions import Predictions
from medimg.inference.images import Images
from medimg.models.classifier import ImageClassifier
from medimg.runs import RunFolder
from medimg.training.evaluate import predict
from medimg.training.features import use_features


def known_table(place: RunFolder, epoch: int, digest: str, manifest: Manifest, split: Split) -> Predictions | None:
    """A table that a checkpoint has left of a whole split; None where there is none.

    Args:
        place: where it would be.
        epoch: of the checkpoint.
        digest: SHA-256 of the checkpoint; runs of earlier versions have written none.
        manifest: of the images.
        split: of these.
    """
    file, results = place.predictions(split), place.results()
    if not file.is_file() or results.get("best_epoch") != epoch:
        return None
    if results.get("checkpoint_sha256") not in {None, digest}:
        return None
    table = Predictions.read_csv(file)
    return table if set(table.paths) == {record.path for record in manifest.of(split)} else None


def predicted_table(trainer: L.Trainer, classifier: ImageClassifier, images: Images, split: Split) -> Predictions:
    """What the classifier, as it is, says of a split; nothing is written."""
    config = images.config
    data: ImageDataModule = locate(target_of(config.data)[0])(
        config.data,
        preprocessing=classifier.preprocessing,
        seed=config.seed,
        cache=Path(config.paths.cache).expanduser(),
        manifest=images.manifest,
    )
    plain = msgspec.structs.replace(config, augment=AugmentConfig())  # nothing is varied here
    use_features(data, classifier, trainer, plain)
    return predict(trainer, classifier, data, [split])[split]
