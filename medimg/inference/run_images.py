"""Some of a run's own images, ready for its model, for checks against the original."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from medimg.data.manifest import Manifest, Record, read_manifest_csv
from medimg.data.preprocessing import Preprocessing
from medimg.errors import RequestError
from medimg.runs import RunFolder

_MOST = 32


def images_of_run(folder: RunFolder, preprocessing: Preprocessing, count: int = _MOST) -> tuple[Tensor, str]:
    """Up to `count` images that the model was not trained on where there are such, and what they are.

    Images that cannot be read are passed over. Where none can be, as on another machine, they are random.

    Returns:
        float32 [N, C, H, W] in 0..1, of the preprocessing's size; and a few words, such as `the test images`.
    """
    try:
        manifest = read_manifest_csv(folder.manifest_file)
        manifest = replace(manifest, window=folder.read_config().get("data", {}).get("window"))
    except RequestError:
        return _random(preprocessing, count)
    unseen = [record for record in manifest.records if record.split in {"val", "test"}]
    images = _read(manifest, unseen or list(manifest.records), preprocessing, count)
    if not images:
        return _random(preprocessing, count)
    return torch.stack(images), "validation and test images of the run" if unseen else "training images of the run"


def _read(manifest: Manifest, records: list[Record], preprocessing: Preprocessing, count: int) -> list[Tensor]:
    """Evenly from the whole list, which is sorted by path, so that all classes are among them."""
    chosen = np.unique(np.linspace(0, len(records) - 1, min(count, len(records))).round().astype(int))
    images = []
    for position in chosen:
        try:
            pixels = manifest.read(records[position], preprocessing.channels)
        except RequestError:
            continue
        images.append(preprocessing.to_unit(preprocessing.resize(pixels)).clamp(0, 1))
    return images


def _random(preprocessing: Preprocessing, count: int) -> tuple[Tensor, str]:
    shape = (count, preprocessing.channels, preprocessing.height, preprocessing.width)
    drawn = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return drawn, "random images, as none of the run's own can be read here"
