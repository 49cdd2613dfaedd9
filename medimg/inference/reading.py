"""Images to predict for, as batches: each file is read once, for all members of an ensemble."""

from collections.abc import Generator, Sequence
from functools import partial
from os import getpid
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medimg.config.windows import WindowValue
from medimg.data.dataset import stack
from medimg.data.preprocessing import Preprocessing
from medimg.data.readers import read_image
from medimg.data.readers.refusals import CURE
from medimg.errors import RequestError
from medimg.inference.inputs import Input
from medimg.processes import die_with


class Reading(NamedTuple):
    """How a model wants an image: its size, channels and region, and the CT window through which it is seen."""

    preprocessing: Preprocessing
    window: WindowValue | None = None


class Seen(NamedTuple):
    """One image: its position in the list, and [C, H, W] for each reading; or why there is none."""

    position: int
    images: tuple[Tensor, ...] = ()
    problem: str | None = None


class InputBatch(NamedTuple):
    """Consecutive images of the list.

    `images` has [B, C, H, W] for each reading, `positions` the B places in the list; both are of readable images alone.
    `problems` are the others, by position. B may be 0.
    """

    positions: tuple[int, ...]
    images: tuple[Tensor, ...]
    problems: dict[int, str]


class InputDataset(Dataset[Seen]):
    """Images as each of several readings wants them; one that cannot be read is an item with the reason."""

    def __init__(self, items: Sequence[Input], readings: Sequence[Reading]) -> None:
        self.items = items
        self.readings = readings

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: int) -> Seen:
        item = self.items[position]
        if item.problem is not None:
            return Seen(position, problem=_reason(item.problem, item))
        decoded: dict[object, Tensor] = {}
        try:
            for preprocessing, window in self.readings:
                if (preprocessing.channels, window) not in decoded:
                    decoded[preprocessing.channels, window] = read_image(
                        Path(item.file), preprocessing.channels, frame=item.frame, window=window
                    )
        except RequestError as error:
            return Seen(position, problem=_reason(str(error), item))
        return Seen(position, tuple(p.prepare(decoded[p.channels, window]) for p, window in self.readings))


def batches(
    items: Sequence[Input],
    readings: Sequence[Reading],
    *,
    start: int = 0,
    batch_size: int,
    num_workers: int,
    pin_memory: bool = False,
) -> Generator[InputBatch, None, None]:
    """The images in their order from a position on; only a few batches are in memory at a time."""
    loader: DataLoader[Seen] = DataLoader(
        InputDataset(items, readings),
        batch_size=batch_size,
        sampler=range(start, len(items)),
        num_workers=num_workers,
        collate_fn=collate,
        pin_memory=pin_memory,
        worker_init_fn=partial(_start_worker, getpid()) if num_workers else None,
    )
    yield from loader


def collate(seen: Sequence[Seen]) -> InputBatch:
    """Stack what could be read."""
    readable = [one for one in seen if one.problem is None]
    return InputBatch(
        positions=tuple(one.position for one in readable),
        images=tuple(stack(images) for images in zip(*(one.images for one in readable), strict=True)),
        problems={one.position: one.problem for one in seen if one.problem is not None},
    )


def _start_worker(parent: int, _: int) -> None:
    die_with(parent)


def _reason(message: str, item: Input) -> str:
    """In one line, without the file, which stands beside it, and without what to do about it in a data set."""
    return " ".join(message.removeprefix(f"{item.file}: ").removesuffix(f" {CURE}").split())
