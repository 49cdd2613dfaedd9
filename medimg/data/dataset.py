"""One split of a manifest as a torch dataset, of images or of their features, and how items become a batch."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from medimg.data.cache.rows import Rows
from medimg.data.images import Images, Unreadable
from medimg.data.manifest import Manifest, Split
from medimg.data.preprocessing import Preprocessing
from medimg.errors import MedimgError, RequestError

_SHOWN = 3


# One image: [C, H, W], resized; its class; its position in the manifest.
Item = tuple[Tensor, int, int]


class Batch(NamedTuple):
    """Some images together, and those that were to be among them but could not be read.

    `image` is [B, C, H, W], uint8 or uint16, or float32 in 0..1; `label` and `index` (position in the manifest) are
    int64 [B]. B counts readable images only, and may be 0. Where a frozen trunk has made `features` of the images
    before, float32 [B, ...], there is no `image`.
    `index` stays on the host: to ask a GPU for it would mean to wait.
    """

    image: Tensor
    label: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    unreadable: tuple[Unreadable, ...] = ()
    features: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """All but the positions on this device; from pinned memory the host does not wait for the copy to a GPU."""
        ahead = torch.device(device).type == "cuda"
        image, label = (part.to(device, non_blocking=ahead) for part in (self.image, self.label))
        features = None if self.features is None else self.features.to(device, non_blocking=ahead)
        return self._replace(image=image, label=label, features=features)


class ImageDataset(Dataset[Item | Unreadable]):
    """The images of one split, resized; not normalised, not augmented.

    An unreadable image is an item too, not an exception: one raised in a worker process would reach the user without
    its type and with the worker's traceback in its text. `raise_unreadable` raises it where that can be helped.

    Args:
        manifest: the records.
        split: of these.
        images: of the manifest.
    """

    def __init__(self, manifest: Manifest, split: Split, images: Images) -> None:
        self.split, self.images = split, images
        self.indices = [index for index, record in enumerate(manifest.records) if record.split == split]
        position = {name: number for number, name in enumerate(manifest.classes)}
        self.labels = [position[manifest.records[index].label] for index in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> Item | Unreadable:
        return self._items([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> "list[Item | Unreadable] | Batch":
        """A whole batch at once, as torch's loader asks for it; already together where the images are kept."""
        indices = [self.indices[number] for number in numbers]
        images = self.images.gather(indices)
        if images is None:
            return self._items(numbers)
        return Batch(images, torch.tensor([self.labels[number] for number in numbers]), torch.tensor(indices))

    def _items(self, numbers: Sequence[int]) -> list[Item | Unreadable]:
        indices = [self.indices[number] for number in numbers]
        return [
            image if isinstance(image, Unreadable) else (image, self.labels[number], index)
            for image, number, index in zip(self.images.load(indices), numbers, indices, strict=True)
        ]


class FeatureDataset(Dataset[Batch]):
    """The features of one split's images, from a table that is full.

    Args:
        images: the split.
        rows: row `view * per_view + index` has the features of the image at that position in the manifest.
        view: which view is asked for at the moment.
        per_view: rows of a view.
    """

    def __init__(self, images: ImageDataset, rows: Rows, view: Callable[[], int], per_view: int) -> None:
        self.images, self.rows, self.view, self.per_view = images, rows, view, per_view

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> Batch:
        return self.__getitems__([number])

    def __getitems__(self, numbers: Sequence[int]) -> Batch:
        """A whole batch, collated."""
        indices = [self.images.indices[number] for number in numbers]
        start = self.view() * self.per_view
        rows = self.rows.gather([start + index for index in indices])
        if rows is None:
            raise MedimgError("cached features have vanished while they were in use\n  medimg resume run=... goes on")
        return Batch(
            image=torch.empty(0),
            label=torch.tensor([self.images.labels[number] for number in numbers], dtype=torch.int64),
            index=torch.tensor(indices, dtype=torch.int64),
            features=torch.from_numpy(rows),
        )


def collate(items: Sequence[Item | Unreadable] | Batch) -> Batch:
    """Stack images of one size; see `stack`. Unreadable ones are kept apart. A batch is left as it is."""
    if isinstance(items, Batch):
        return items
    unreadable = tuple(item for item in items if isinstance(item, Unreadable))
    readable = [item for item in items if not isinstance(item, Unreadable)]
    return Batch(
        image=stack([image for image, _, _ in readable]),
        label=torch.tensor([label for _, label, _ in readable], dtype=torch.int64),
        index=torch.tensor([index for _, _, index in readable], dtype=torch.int64),
        unreadable=unreadable,
    )


def stack(images: Sequence[Tensor]) -> Tensor:
    """Images of one size as [B, C, H, W]; where 8 and 16 bits meet, all become float in 0..1. Nothing of no image."""
    if len({image.dtype for image in images}) > 1:
        images = [Preprocessing.to_unit(image) for image in images]
    return torch.stack(list(images)) if images else torch.empty(0)


def raise_unreadable(batch: Batch) -> None:
    """Raise the RequestError of a batch's unreadable images, if it has any; to be called in the main process."""
    if not batch.unreadable:
        return
    messages = [item.message for item in batch.unreadable[:_SHOWN]]
    more = len(batch.unreadable) - _SHOWN
    if more > 0:
        messages.append(f"... and {more} more in the same batch.")
    if any(item.skippable for item in batch.unreadable):
        messages.append(
            "  data.on_error=skip reads all images before training and leaves out those that cannot be read."
        )
    raise RequestError("\n".join(messages))
