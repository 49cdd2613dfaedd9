"""The epoch table: one row an epoch, in metrics.csv, in the loggers and as a line in the log."""

import csv
import logging
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from medimg.config import MonitorConfig
from medimg.files import write_table
from medimg.training.selection import rank

log = logging.getLogger(__name__)


class EpochTable(Checkpoint):
    """Gathers what was measured in an epoch into one row and hands it on before the epoch's checkpoint is written.

    In that order nothing is missing where a run is killed in between: it goes on from the checkpoint before, and does
    the row again. Lightning would log after the checkpoint. (A `Checkpoint`, so that Lightning calls it when all has
    been measured; of these, the first one.)

    The file is replaced as a whole at each epoch, so it never ends in half a row. In a resumed run it goes on with the
    rows that are there.

    Args:
        file: the CSV; None in helper processes of distributed training, which leave it to the first.
        monitor: which column the log line shows, and whether more of it is better.
        max_epochs: for the time left.
    """

    def __init__(self, file: Path | None, monitor: MonitorConfig, max_epochs: int) -> None:
        self.file = file
        self.monitor = monitor
        self.max_epochs = max_epochs
        self.rows: dict[int, dict[str, float]] = {}
        self._rates: dict[str, float] = {}
        self._validated: int | None = None
        self._started = time.monotonic()
        self._first_epoch: int | None = None
        self._epoch_started = self._started

    def start_at(self, epoch: int) -> None:
        """Takes over the rows before this epoch from the file."""
        self._first_epoch = epoch
        if self.file is None or not self.file.is_file():
            return
        with self.file.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if int(row["epoch"]) < epoch:
                    self.rows[int(row["epoch"])] = {
                        name: float(value) for name, value in row.items() if name != "epoch" and value
                    }

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Starts the clock: the loaders are made, and with them features, which no later epoch has to wait for."""
        self._started = self._epoch_started = time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Notes the learning rates that the epoch begins with."""
        self._rates = {
            f"lr-{type(optimizer).__name__}" + (f"/pg{number}" if len(optimizer.param_groups) > 1 else ""): group["lr"]
            for optimizer in trainer.optimizers
            for number, group in enumerate(optimizer.param_groups, 1)
        }

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Writes the row."""
        stale = trainer.current_epoch != self._validated  # where not every epoch is validated
        row = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if not name.endswith("_step") and name not in self._rates and not (stale and name.startswith("val/"))
        }
        self.add(trainer.current_epoch, row | self._rates)
        for logger in trainer.loggers:
            logger.log_metrics(row | {"epoch": trainer.current_epoch}, step=trainer.global_step - 1)
            logger.save()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Notes that the epoch has been validated."""
        self._validated = trainer.current_epoch

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on in the middle of an epoch cannot know."""
        return {"rates": self._rates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        self._rates = state_dict["rates"]

    def add(self, epoch: int, row: dict[str, float]) -> None:
        """Adds the row of an epoch, in the place of one that is there."""
        if self.file is None:
            return
        self.rows[epoch] = row
        self._write(self.file)
        self._say(epoch, self.rows[epoch])

    def _write(self, file: Path) -> None:
        names = sorted({name for row in self.rows.values() for name in row}, key=_order)
        rows = ([epoch, *(_cell(row.get(name)) for name in names)] for epoch, row in sorted(self.rows.items()))
        write_table(file, ["epoch", *names], rows)

    def _say(self, epoch: int, row: dict[str, float]) -> None:
        now = time.monotonic()
        shown = [f"{split} loss {row[f'{split}/loss']:.4f}" for split in ("train", "val") if f"{split}/loss" in row]
        if self.monitor.metric in row:
            best = self._best()
            mark = " (best)" if best == epoch else f" (best {self.rows[best][self.monitor.metric]:.4f} in epoch {best})"
            shown.append(f"{self.monitor.metric} {row[self.monitor.metric]:.4f}{mark}")
        shown.append(f"{now - self._epoch_started:.1f} s")
        done = epoch + 1 - (self._first_epoch or 0)
        left = (self.max_epochs - epoch - 1) * (now - self._started) / max(1, done)
        if left > 0:
            shown.append(f"{_duration(left)} left")
        self._epoch_started = now
        log.info("epoch %d (last %d): %s", epoch, self.max_epochs - 1, ", ".join(shown))

    def _best(self) -> int:
        """The best epoch so far; the first of those that are alike."""
        ranks = {epoch: rank(row, self.monitor) for epoch, row in self.rows.items()}
        return max((found, -epoch) for epoch, found in ranks.items() if found is not None)[1] * -1


def _order(name: str) -> tuple[int, str]:
    """Losses and averages first, classes after them, learning rates at the end."""
    return (2 if "/" not in name else min(name.count("/") - 1, 1), name)


def _cell(value: float | None) -> float | None:
    """An empty cell for what is not defined."""
    return None if value is None or value != value else value  # noqa: PLR0124 - NaN


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
