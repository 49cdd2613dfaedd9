"""A picture for each image that was predicted: what in it spoke for its class."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor
from torch.nn import functional

from medimg.data.readers.sniff import suffix_of
from medimg.data.sources import IMAGE_SUFFIXES
from medimg.inference.predictor import Predictor
from medimg.inference.rows import maps_folder
from medimg.models.explain import class_maps
from medimg.reporting.overlay import write_overlay

_LONGEST = 100  # characters of a name, of the 255 bytes that file systems take


@dataclass(frozen=True)
class MapWriter:
    """Writes pictures into the folder of a table; `total` images make as many digits in their names as are needed."""

    table: Path
    total: int

    def write(
        self,
        predictor: Predictor,
        images: Sequence[Tensor],
        targets: Tensor,
        positions: Sequence[int],
        paths: Sequence[str],
    ) -> list[str]:
        """A picture of each image beside its map; returns their names, relative to the table's folder.

        Args:
            predictor: an ensemble's map is the mean of those of its members.
            images: for each member [B, C, H, W].
            targets: the class of each image, [B].
            positions: in the list, [B].
            paths: as the table has them, [B].
        """
        folder = maps_folder(self.table)
        names = [self._name(position, path) for position, path in zip(positions, paths, strict=True)]
        for name, image, weight in zip(names, images[0], mean_maps(predictor, images, targets), strict=True):
            write_overlay(folder / name, image, weight)
        return [f"{folder.name}/{name}" for name in names]

    def _name(self, position: int, path: str) -> str:
        """The position makes it unique, the path tells people which image it is."""
        stem = path.removesuffix(PurePosixPath(path).suffix) if suffix_of(path) in IMAGE_SUFFIXES else path
        safe = re.sub(r"[^A-Za-z0-9._-]+", "-", stem)[-_LONGEST:].strip("-.")
        return f"{position:0{len(str(self.total - 1))}d}_{safe}.png"


def mean_maps(predictor: Predictor, images: Sequence[Tensor], targets: Tensor) -> Tensor:
    """The mean of the members' maps, [B, H, W] in 0..1, of the size of the first member's images."""
    size = images[0].shape[-2:]
    maps = [
        class_maps(member.classifier, image, targets)[:, None]
        for member, image in zip(predictor.members, images, strict=True)
    ]
    sized = [each if each.shape[-2:] == size else functional.interpolate(each, size, mode="bilinear") for each in maps]
    return torch.stack(sized).mean(dim=0)[:, 0]
