"""The `.npz` archives of MedMNIST, and MNIST as Keras ships it, as a manifest: a record for each row."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medimg.data.manifest import Manifest, Record, examples, parse_split
from medimg.data.readers.npz import LAYOUTS, Member, image_members, members, read_array, row_names
from medimg.errors import RequestError

_EXPECTED = (
    "Expected: train_images, train_labels and the same for val and test, as in MedMNIST; "
    "or x_train, y_train, x_test, y_test, as Keras ships MNIST."
)


def read_medmnist(file: Path, classes: tuple[str, ...] | None) -> Manifest:
    """A manifest of all rows, with the archive's own splits.

    Labels are numbers: they become the names in `classes`, in that order, or digits of one length ("00" to "10"), so
    that names sort as numbers do. Raises RequestError where the archive is none that can be learnt from.
    """
    file = file.expanduser().absolute()
    if not file.is_file():
        what = "is a folder" if file.is_dir() else "does not exist"
        raise RequestError(f"data.root={file} {what}. data=medmnist needs an .npz archive. {_EXPECTED}")
    images = image_members(file)
    if not images:
        found = examples(sorted(members(file))) or "no arrays"
        raise RequestError(f"{file}: the archive holds {found}. {_EXPECTED}")
    labels = {split: _labels(file, split, member) for split, member in images.items()}
    names = _names(file, labels, classes)
    records, first = [], 0
    for split, member in images.items():
        check_images(file, member)
        rows = zip(row_names(split, member), labels[split].tolist(), strict=True)
        records += [
            Record(name, names[label], parse_split(split), file=file.name, frame=frame)
            for frame, (name, label) in enumerate(rows, start=first)
        ]
        first += member.shape[0]
    return Manifest(root=file.parent, records=tuple(records))


def check_images(file: Path, member: Member) -> None:
    """Raises RequestError where an array holds no pictures."""
    if len(member.shape) == 4 and member.shape[-1] not in {1, 3}:
        sizes = "x".join(map(str, member.shape[1:]))
        raise RequestError(
            f"{file}: {member.name} holds volumes ({sizes}), and medimg classifies pictures. "
            "Take a 2D set of MedMNIST, or save the slices that count as an archive of pictures."
        )
    if len(member.shape) not in {3, 4} or member.dtype.kind not in "uif" or member.dtype.itemsize > 8:
        raise RequestError(
            f"{file}: {member.name} has the shape {member.shape} and the type {member.dtype}; expected are pictures, "
            "(count, height, width) or (count, height, width, 3), of 8-bit values."
        )


def _labels(file: Path, split: str, images: Member) -> NDArray[Any]:
    """The numbers [N] of one split."""
    found = members(file)
    name = next(layout[split][1] for layout in LAYOUTS if layout[split][0] == images.name)
    if name not in found:
        raise RequestError(f"{file}: {images.name} has no labels: {name} is missing. {_EXPECTED}")
    if not images.shape:
        raise RequestError(f"{file}: {images.name} is a single number. {_EXPECTED}")
    labels = read_array(file, found[name])
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise RequestError(
            f"{file}: {name} has {labels.shape[1]} labels an image; medimg gives each image one class. "
            "Multi-label sets such as ChestMNIST cannot be trained on."
        )
    if labels.shape not in {(images.shape[0],), (images.shape[0], 1)}:
        raise RequestError(f"{file}: {images.name} has {images.shape[0]} images, and {name} the shape {labels.shape}.")
    labels = labels.reshape(-1)
    if labels.dtype.kind not in "uif" or not np.equal(np.mod(labels, 1), 0).all() or (labels < 0).any():
        raise RequestError(f"{file}: {name} must hold the numbers of classes: 0, 1, 2 and so on.")
    return labels.astype(np.int64)


def _names(file: Path, labels: dict[str, NDArray[Any]], classes: tuple[str, ...] | None) -> dict[int, str]:
    """Class by number."""
    numbers = sorted({number for part in labels.values() for number in np.unique(part).tolist()})
    if not numbers:
        raise RequestError(f"{file}: the archive holds no images.")
    if classes is None:
        digits = len(str(numbers[-1]))
        return {number: f"{number:0{digits}d}" for number in numbers}
    if numbers[-1] >= len(classes):
        raise RequestError(
            f"{file}: the labels reach to {numbers[-1]}, and data.classes has {len(classes)} names. "
            "Give a name for each number from 0, in that order."
        )
    return {number: classes[number] for number in numbers}
