"""The epoch table: one row an epoch, in metrics.csv and as a line in the log."""

import csv
import logging
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from medimg.config import MonitorConfig
from medimg.files import write_table
from medimg.training.selection import rank

log = logging.getLogger(__name__)


class EpochTable(Logger):
    """A Lightning logger that gathers what is logged of an epoch into one row.

    The file is replaced as a whole at each epoch, so it never ends in half a row. In a resumed run it goes on with the
    rows that are there.

    Args:
        file: the CSV.
        monitor: which column the log line shows, and whether more of it is better.
        max_epochs: for the time left.
    """

    def __init__(self, file: Path, monitor: MonitorConfig, max_epochs: int) -> None:
        super().__init__()
        self.file = file
        self.monitor = monitor
        self.max_epochs = max_epochs
        self.rows: dict[int, dict[str, float]] = {}
        self._pending: dict[str, float] = {}
        self._started = time.monotonic()
        self._first_epoch: int | None = None
        self._epoch_started = self._started

    @property
    def name(self) -> str:
        """Lightning asks for it."""
        return "metrics"

    @property
    def version(self) -> str:
        """Lightning asks for it."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's config.yaml holds them."""

    def start_at(self, epoch: int) -> None:
        """Takes over the rows before this epoch from the file, and starts the clock."""
        self._first_epoch = epoch
        self._started = self._epoch_started = time.monotonic()
        if not self.file.is_file():
            return
        with self.file.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                if int(row["epoch"]) < epoch:
                    self.rows[int(row["epoch"])] = {
                        name: float(value) for name, value in row.items() if name != "epoch" and value
                    }

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds to the row of the epoch; what comes without an epoch, as learning rates do, joins the next that has."""
        metrics = {name: float(value) for name, value in metrics.items() if not name.endswith("_step")}
        epoch = metrics.pop("epoch", None)
        if epoch is None:
            self._pending.update(metrics)
            return
        if not metrics:
            return
        row = self.rows.setdefault(int(epoch), {})
        row.update(self._pending | metrics)
        self._pending.clear()
        self._write()
        if "train/loss" in metrics:  # comes last, after validation
            self._say(int(epoch), row)

    def _write(self) -> None:
        names = sorted({name for row in self.rows.values() for name in row}, key=_order)
        rows = ([epoch, *(_cell(row.get(name)) for name in names)] for epoch, row in sorted(self.rows.items()))
        write_table(self.file, ["epoch", *names], rows)

    def _say(self, epoch: int, row: dict[str, float]) -> None:
        now = time.monotonic()
        shown = [f"train loss {row['train/loss']:.4f}"]
        if "val/loss" in row:
            shown.append(f"val loss {row['val/loss']:.4f}")
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
