"""One split of a manifest as a torch dataset, and how its items become a batch."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from medimg.data.manifest import Manifest, Split
from medimg.data.preprocessing import Preprocessing
from medimg.data.readers import check_channels
from medimg.data.readers.refusals import SettingError
from medimg.errors import RequestError

_SHOWN = 3


class Unreadable(NamedTuple):
    """An image that could not be read: its path as in the manifest, and the message for the user.

    `skippable`: whether `data.on_error=skip` would have left it out.
    """

    path: str
    message: str
    skippable: bool = True


# One image: [C, H, W] as the reader gives it, resized; its class; its position in the manifest.
Item = tuple[Tensor, int, int]


class Batch(NamedTuple):
    """Some images together, and those that were to be among them but could not be read.

    `image` is [B, C, H, W], uint8 or float32 in 0..1; `label` and `index` (position in the manifest) are int64 [B]. B
    counts readable images only, and may be 0. `index` stays on the host: to ask a GPU for it would mean to wait.
    """

    image: Tensor
    label: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    unreadable: tuple[Unreadable, ...] = ()

    def to(self, device: torch.device) -> "Batch":
        """Images and labels on this device; from pinned memory the host does not wait for the copy to a GPU."""
        ahead = torch.device(device).type == "cuda"
        image, label = (part.to(device, non_blocking=ahead) for part in (self.image, self.label))
        return self._replace(image=image, label=label)


class ImageDataset(Dataset[Item | Unreadable]):
    """The images of one split, read and resized; not normalised, not augmented.

    An unreadable image is an item too, not an exception: one raised in a worker process would reach the user without
    its type and with the worker's traceback in its text. `raise_unreadable` raises it where that can be helped.
    """

    def __init__(self, manifest: Manifest, split: Split, preprocessing: Preprocessing) -> None:
        check_channels(manifest.window, preprocessing.channels)
        self.manifest = manifest
        self.preprocessing = preprocessing
        self.indices = [index for index, record in enumerate(manifest.records) if record.split == split]
        position = {name: number for number, name in enumerate(manifest.classes)}
        self.labels = [position[manifest.records[index].label] for index in self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, number: int) -> Item | Unreadable:
        index = self.indices[number]
        record = self.manifest.records[index]
        try:
            image = self.manifest.read(record, self.preprocessing.channels)
        except RequestError as error:
            return Unreadable(record.path, str(error), skippable=not isinstance(error, SettingError))
        return self.preprocessing.prepare(image), self.labels[number], index


def collate(items: Sequence[Item | Unreadable]) -> Batch:
    """Stack images of one size; where any is float, all become float in 0..1. Unreadable ones are kept apart."""
    unreadable = tuple(item for item in items if isinstance(item, Unreadable))
    readable = [item for item in items if not isinstance(item, Unreadable)]
    return Batch(
        image=stack([image for image, _, _ in readable]),
        label=torch.tensor([label for _, label, _ in readable], dtype=torch.int64),
        index=torch.tensor([index for _, _, index in readable], dtype=torch.int64),
        unreadable=unreadable,
    )


def stack(images: Sequence[Tensor]) -> Tensor:
    """Images of one size as [B, C, H, W]; where any is float, all become float in 0..1. Nothing of no image."""
    if any(image.is_floating_point() for image in images):
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
