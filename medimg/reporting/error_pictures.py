"""Pictures of the errors that a model was most sure of, as it saw them, and where it looked."""

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from torch import Tensor

from medimg.data.manifest import Manifest, Record
from medimg.errors import MedimgError, RequestError
from medimg.evaluation.predictions import Predictions
from medimg.files import write_bytes, write_json
from medimg.models.classifier import ImageClassifier
from medimg.models.explain import class_maps
from medimg.reporting.mistakes import confident_mistakes
from medimg.reporting.overlay import write_overlay
from medimg.reporting.report.source import ERRORS
from medimg.runs import RunFolder

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ErrorPicture:
    """One error: the file below the run folder, or why there is none; `without_map` is why the map is missing."""

    path: str
    picture: str | None = None
    reason: str | None = None
    without_map: str | None = None


def write_error_pictures(
    folder: RunFolder,
    classifier_of: Callable[[str], ImageClassifier],
    manifest: Manifest,
    predictions: Predictions,
    split: str,
) -> None:
    """Writes `figures/errors/*.png` and, last, `errors.json` beside them, which names them.

    The map is that of the class that was predicted. Images are taken one by one: gradients of large ones need memory.

    Args:
        folder: of the run.
        classifier_of: for the path of an image, the model whose map is shown.
        manifest: the images.
        predictions: of one split.
        split: its name.
    """
    home = (folder.path / ERRORS).parent
    for old in home.glob("*.png"):
        old.unlink()
    records = {record.path: record for record in manifest.records}
    found = []
    for number, row in enumerate(confident_mistakes(predictions), start=1):
        name = (home / f"{number:02d}.png").relative_to(folder.path)
        record = records[predictions.paths[row]]
        predicted = int(predictions.predicted[row])
        found.append(_write(folder, str(name), classifier_of(record.path), manifest, record, predicted))
    write_json(folder.path / ERRORS, {"split": split, "errors": [asdict(one) for one in found]})


def _write(
    folder: RunFolder, name: str, classifier: ImageClassifier, manifest: Manifest, record: Record, predicted: int
) -> ErrorPicture:
    preprocessing = classifier.preprocessing
    try:
        image = preprocessing.prepare(manifest.read(record, preprocessing.channels))
    except RequestError as error:
        return ErrorPicture(record.path, reason=str(error))
    try:
        (weight,) = class_maps(classifier, image[None].to(classifier.device), [predicted])
    except (MedimgError, RuntimeError) as error:  # a network of the user's own may have no layer with a map
        log.warning("no Grad-CAM: %s", error)
        write_bytes(folder.path / name, _plain(image))
        return ErrorPicture(record.path, name, without_map=str(error))
    write_overlay(folder.path / name, image, weight)
    return ErrorPicture(record.path, name)


def _plain(image: Tensor) -> bytes:
    values = image.numpy() if image.dtype.is_floating_point else image.numpy() / 255
    grey = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    stream = BytesIO()
    Image.fromarray(np.ascontiguousarray(np.broadcast_to(grey, (3, *grey.shape[1:])).transpose(1, 2, 0))).save(
        stream, format="PNG"
    )
    return stream.getvalue()
