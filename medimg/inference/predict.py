"""Predictions for a list of images, batch by batch into a table; memory does not grow with the list."""

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException
from tqdm import tqdm

from medimg.config import TrainerConfig
from medimg.errors import RequestError
from medimg.inference.inputs import Input, Inputs
from medimg.inference.part_file import PartFile
from medimg.inference.predictor import Predictor
from medimg.inference.reading import InputBatch, batches
from medimg.inference.rows import Row, Table, Tally, maps_folder
from medimg.training.hardware import predicting_precision, set_arithmetic
from medimg.training.interrupts import Interrupts

if TYPE_CHECKING:
    from medimg.inference.maps import MapWriter


@dataclass(frozen=True)
class Loading:
    """How images get to the model; none of it changes what the model says of them.

    Attributes:
        batch_size: images at a time.
        num_workers: processes that read images; 0: this one does.
        accelerator: where to compute, as Lightning calls it.
    """

    batch_size: int = 32
    num_workers: int = 2
    accelerator: str = "auto"


def write_predictions(
    file: Path,
    predictor: Predictor,
    inputs: Inputs,
    table: Table,
    loading: Loading,
    interrupts: Interrupts | None = None,
) -> Tally:
    """Writes a row for each image, in the order of the list, and a picture where the table has a column for it.

    A request that was ended goes on after the last batch that it wrote, and leaves the same file as one that was not.

    Raises:
        RequestError: the file is there already, or unfinished rows of another request, or the accelerator is not.
        Interrupted: a signal came; the batches so far are written.
    """
    identity = {
        "model": predictor.identity,
        "images": inputs.digest(),
        "columns": ",".join(table.header),
    }
    fabric = _fabric(predictor, loading.accelerator)
    writer = _map_writer(file, len(inputs.items)) if table.maps else None
    work = _Work(predictor, inputs, table, fabric, writer)
    tally, done, interrupts = Tally(), 0, interrupts or Interrupts()
    with PartFile(file, table.header, identity, [maps_folder(file)] if table.maps else []) as part:
        for row in part.take_up((item.path for item in inputs.items), _whole_batches(len(inputs.items), loading)):
            tally.add(row, table.header)
            done += 1
        tally.kept = done
        # between batches, where no worker is in the middle of handing one over
        with interrupts.deferred(), closing(work.from_position(done, loading)) as answers:
            for rows in answers:
                part.append(rows)
                for row in rows:
                    tally.add(row, table.header)
                if interrupts.noted is not None:
                    break
        part.finish()
    return tally


def _whole_batches(total: int, loading: Loading) -> Callable[[int], int]:
    """So many rows that the next batch begins where it would have: another batch can change the last digits."""
    return lambda rows: rows if rows == total else rows - rows % loading.batch_size


@dataclass(frozen=True)
class _Work:
    """What rows are made of."""

    predictor: Predictor
    inputs: Inputs
    table: Table
    fabric: Fabric
    writer: "MapWriter | None"

    def from_position(self, done: int, loading: Loading) -> Generator[list[Row], None, None]:
        """The rows of each batch from a position on."""
        for member in self.predictor.members:
            self.fabric.to_device(member.classifier)
        total = len(self.inputs.items)
        found = batches(
            self.inputs.items,
            self.predictor.readings,
            start=done,
            batch_size=loading.batch_size,
            num_workers=min(loading.num_workers, total - done),
            pin_memory=self.fabric.device.type == "cuda",
        )
        # None: shown where stderr is a terminal
        with closing(found), tqdm(total=total, initial=done, unit="image", disable=None) as progress:
            for batch in found:
                rows = self._rows(batch)
                yield rows
                progress.update(len(rows))

    def _rows(self, batch: InputBatch) -> list[Row]:
        """The rows of a batch, those that could not be read included, in the order of the list."""
        items = self.inputs.items
        rows = {
            place: self.table.failed(items[place].path, reason, items[place].values)
            for place, reason in batch.problems.items()
        }
        if batch.positions:
            rows |= self._answered(batch, [items[place] for place in batch.positions])
        return [rows[place] for place in sorted(rows)]

    def _answered(self, batch: InputBatch, items: list[Input]) -> dict[int, Row]:
        """The rows of what could be read, by position."""
        moved = dict(zip(self.predictor.readings, self.fabric.to_device(batch.images), strict=True))
        images = [moved[member.reading] for member in self.predictor.members]
        with torch.inference_mode(), self.fabric.autocast():
            logits = self.predictor.logits(images, torch.tensor(batch.positions)).cpu().double()
        pictures = [""] * len(items)
        if self.writer is not None:
            targets = logits.argmax(dim=1).to(self.fabric.device)
            pictures = self.writer.write(
                self.predictor, images, targets, batch.positions, [item.path for item in items]
            )
        answers = zip(batch.positions, items, logits.numpy(), pictures, strict=True)
        return {
            place: self.table.row(item.path, values, picture, item.values) for place, item, values, picture in answers
        }


def _map_writer(file: Path, total: int) -> "MapWriter":
    from medimg.inference.maps import MapWriter

    return MapWriter(file, total)


def _fabric(predictor: Predictor, accelerator: str) -> Fabric:
    """The device, in the precision of the training where all members agree and the device can."""
    asked = {member.precision for member in predictor.members}
    exact = {member.arithmetic for member in predictor.members}
    try:
        config = TrainerConfig(
            accelerator=accelerator,  # type: ignore[arg-type]
            precision=asked.pop() if len(asked) == 1 else "auto",  # type: ignore[arg-type]
            float32_matmul_precision=exact.pop() if len(exact) == 1 else "highest",  # type: ignore[arg-type]
        )
        set_arithmetic(config)
        return Fabric(accelerator=accelerator, devices=1, precision=predicting_precision(config))
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise RequestError(f"accelerator={accelerator} cannot be used here: {error}") from error
