"""From pixels as read to what a backbone expects: size, range and normalisation."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

Resizing = Literal["stretch", "fit"]
Region = Literal["whole", "border", "center"]

BORDER = 1 / 8  # of each side, where `region` tells border and center apart


@dataclass(frozen=True)
class Preprocessing:
    """The size, channels and normalisation that a backbone was built for.

    `mean` and `std` have one number for each channel, for values in 0..1. `resizing` is how images get their size:
    `stretch` changes the ratio of the sides where it has to; `fit` keeps it, and fills the rest with black (0).
    `region` is the part that the model gets to see, the rest being black: a model that does well on the border alone
    has not learnt the disease.
    """

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: Literal[1, 3]
    resizing: Resizing = "stretch"
    region: Region = "whole"

    def __post_init__(self) -> None:
        if len(self.mean) != self.channels or len(self.std) != self.channels:
            raise ValueError(
                f"mean {self.mean} and std {self.std} must have one number for each of {self.channels} channels"
            )

    def prepare(self, image: Tensor) -> Tensor:
        """From an image as read to one as the model takes it, but for `normalise`: its size, and what it may show.

        uint8 stays uint8; float in 0..1 becomes uint16, 65535 being 1, so that it is the same from a cache and without.
        """
        return to_integers(self.show_region(self.resize(image)))

    def show_region(self, image: Tensor) -> Tensor:
        """Black out what `region` leaves out: [..., C, H, W] of any size; the same object where that is nothing."""
        if self.region == "whole":
            return image
        height, width = image.shape[-2:]
        rows, columns = round(height * BORDER), round(width * BORDER)
        center = torch.zeros(height, width, dtype=torch.bool, device=image.device)
        center[rows : height - rows, columns : width - columns] = True
        return image * (center if self.region == "center" else ~center)

    def resize(self, image: Tensor) -> Tensor:
        """Bring to height x width, bilinear with antialias, as `resizing` says; with `fit` the image is centred.

        Args:
            image: [..., C, H, W]; uint8 stays uint8, float stays float. The same object where its size is right.
        """
        height, width = image.shape[-2:]
        if (height, width) == (self.height, self.width):
            return image
        if self.resizing == "stretch":
            return _scaled(image, self.height, self.width)
        scale = min(self.height / height, self.width / width)
        # rounded, and never to nothing: a strip of 1 x 1000 pixels keeps a row
        inner = _scaled(image, max(1, round(height * scale)), max(1, round(width * scale)))
        rows, columns = self.height - inner.shape[-2], self.width - inner.shape[-1]
        left, top = columns // 2, rows // 2
        padded: Tensor = vision.pad(inner, [left, top, columns - left, rows - top], fill=0)
        return padded

    @staticmethod
    def to_unit(batch: Tensor) -> Tensor:
        """Values in 0..1 as float32: uint8 is divided by 255, uint16 by 65535; float is taken to be there already."""
        if batch.is_floating_point():
            return batch
        return batch.to(torch.float32) / torch.iinfo(batch.dtype).max

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What values in 0..1 are multiplied by and what is added to normalise them, float32 [C, 1, 1] each."""
        mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (self.mean, self.std))
        return (1 / std).float(), (-mean / std).float()

    def normalise(self, batch: Tensor, scale_and_shift: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Subtract the mean and divide by the standard deviation.

        Args:
            batch: [..., C, H, W], as `prepare` leaves it, or float in 0..1.
            scale_and_shift: as that method gives them, on the device of the batch; None: made anew, and a GPU waits
                for that.
        """
        if batch.is_floating_point() and self._is_identity:
            return batch
        scale, shift = (one.to(batch.device) for one in scale_and_shift or self.scale_and_shift())
        if batch.is_floating_point():
            return (batch * scale.to(batch.dtype)).add_(shift.to(batch.dtype))
        # in place: a new block of memory costs more than the arithmetic
        return batch.to(torch.float32).mul_(scale / torch.iinfo(batch.dtype).max).add_(shift)

    def without_normalisation(self) -> Self:
        """The same size and channels, with values left in 0..1 (mean 0, standard deviation 1)."""
        return replace(self, mean=(0.0,) * self.channels, std=(1.0,) * self.channels)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and lists, for checkpoints (`torch.load(..., weights_only=True)`) and JSON."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @property
    def _is_identity(self) -> bool:
        return not any(self.mean) and all(value == 1 for value in self.std)


def to_integers(image: Tensor) -> Tensor:
    """Float in 0..1 (what lies outside is cut) as uint16; uint8 as it is."""
    if not image.is_floating_point():
        return image
    return (image.clamp(0, 1) * 65535).round().to(torch.int32).to(torch.uint16)


def _scaled(image: Tensor, height: int, width: int) -> Tensor:
    scaled: Tensor = vision.resize(
        image, [height, width], interpolation=vision.InterpolationMode.BILINEAR, antialias=True
    )
    return scaled
