"""metrics.csv and the log line of an epoch."""

import csv
import logging
import math
import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from lightning.pytorch.loggers import CSVLogger
from tiny_training import batches, classifier, configured, loader

from medimg.config import MonitorConfig
from medimg.runs import RunFolder
from medimg.training import epoch_table
from medimg.training.epoch_table import EpochTable
from medimg.training.trainer import make_trainer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time; its one element can be moved on."""
    now = [100.0]
    monkeypatch.setattr(epoch_table.time, "monotonic", lambda: now[0])
    return now


def table(file: Path, epochs: int = 3, monitor: MonitorConfig | None = None) -> EpochTable:
    made = EpochTable(file, monitor or MonitorConfig(), epochs)
    made.start_at(0)
    return made


def log_epoch(made: EpochTable, epoch: int, f1: float, loss: float = 0.5) -> None:
    made.add(epoch, {"val/f1_macro": f1, "val/loss": loss, "train/loss": 2.0, "lr-Adam": 0.1})


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_row_an_epoch(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "metrics.csv"
    made = table(file)
    log_epoch(made, 0, 0.25)
    log_epoch(made, 1, 1 / 3)
    assert [row["epoch"] for row in rows(file)] == ["0", "1"]
    assert float(rows(file)[1]["val/f1_macro"]) == 1 / 3  # in full precision
    assert [float(row["lr-Adam"]) for row in rows(file)] == [0.1, 0.1]


def test_columns_are_in_order(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    made = table(file)
    names = ("lr-Adam", "val/loss", "val/f1/b", "val/accuracy", "train/f1/a", "train/loss")
    made.add(0, dict.fromkeys(names, 1.0))
    header = file.read_text().splitlines()[0]
    assert header == "epoch,train/loss,val/accuracy,val/loss,train/f1/a,val/f1/b,lr-Adam"


def test_what_is_not_defined_or_not_measured_is_an_empty_cell(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    made = table(file)
    made.add(0, {"train/loss": 1.0})
    made.add(1, {"train/loss": 1.0, "val/auroc": math.nan})
    assert [row["val/auroc"] for row in rows(file)] == ["", ""]


class Board(CSVLogger):
    """Notes what is logged."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.seen: list[tuple[set[str], int | None]] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.seen.append((set(metrics), step))


def test_it_gathers_what_an_epoch_measured(tmp_path: Path) -> None:
    """Two batches an epoch, every second epoch validated; values of single steps are left out."""
    made, board = table(tmp_path / "metrics.csv"), Board(tmp_path)
    config = configured({"trainer.max_epochs": 4, "trainer.check_val_every_n_epoch": 2, "trainer.log_every_n_steps": 1})
    trainer = make_trainer(config, RunFolder(tmp_path / "run"), has_validation=True)
    trainer.callbacks = [made]
    trainer.loggers = [board]
    model = classifier(config)
    trainer.fit(model, loader(batches(2)), loader(batches(2, seed=1)))
    found = rows(tmp_path / "metrics.csv")
    assert [row["val/f1_macro"] != "" for row in found] == [False, True, False, True]
    assert "train/loss_step" not in found[0]
    assert [float(row["lr-Adam"]) for row in found] == [config.optimizer.lr] * 4  # type: ignore[union-attr]
    logged = [(names, step) for names, step in board.seen if "train/f1_macro" in names]
    assert {step for _, step in logged} == {1, 3, 5, 7}  # the last step of each epoch
    assert [any("val/f1_macro" in names for names, at in logged if at == step) for step in (1, 3)] == [False, True]


def test_a_resumed_run_goes_on_with_the_rows_that_are_there(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    made = table(file)
    for epoch in range(3):
        log_epoch(made, epoch, 0.1 * (epoch + 1))
    before = file.read_text().splitlines()
    made = EpochTable(file, MonitorConfig(), 3)
    made.start_at(2)  # the last epoch is done again
    log_epoch(made, 2, 0.9)
    after = file.read_text().splitlines()
    assert after[:3] == before[:3]
    assert len(after) == 4
    assert float(rows(file)[2]["val/f1_macro"]) == 0.9


def test_the_log_line(tmp_path: Path, caplog: pytest.LogCaptureFixture, clock: list[float]) -> None:
    made = table(tmp_path / "metrics.csv")
    with caplog.at_level(logging.INFO, logger="medimg"):
        clock[0] += 90
        log_epoch(made, 0, 0.5)
        clock[0] += 30
        log_epoch(made, 1, 0.4)
        clock[0] += 30.04
        log_epoch(made, 2, 0.5, loss=0.4)
    assert caplog.messages == [
        "epoch 0 (last 2): train loss 2.0000, val loss 0.5000, val/f1_macro 0.5000 (best), 90.0 s, 3:00 left",
        "epoch 1 (last 2): train loss 2.0000, val loss 0.5000, val/f1_macro 0.4000 (best 0.5000 in epoch 0), 30.0 s, "
        "1:00 left",
        "epoch 2 (last 2): train loss 2.0000, val loss 0.4000, val/f1_macro 0.5000 (best), 30.0 s",
    ]


def test_the_log_line_names_the_best_of_its_monitor(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = table(tmp_path / "metrics.csv", monitor=MonitorConfig(metric="val/loss", mode="min"))
    with caplog.at_level(logging.INFO, logger="medimg"):
        for epoch, loss in enumerate([0.5, 0.7, 0.5]):
            log_epoch(made, epoch, 0.1, loss)
    marks = [re.findall(r"\(best.*?\)", message)[0] for message in caplog.messages]
    assert marks == ["(best)", "(best 0.5000 in epoch 0)", "(best 0.5000 in epoch 0)"]


def test_the_log_line_without_validation_or_with_an_undefined_score(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = table(tmp_path / "metrics.csv")
    with caplog.at_level(logging.INFO, logger="medimg"):
        made.add(0, {"train/loss": 2.0})
        log_epoch(made, 1, 0.1)
        log_epoch(made, 2, math.nan)
    assert [re.sub(r", [\d.]+ s.*", "", message) for message in caplog.messages] == [
        "epoch 0 (last 2): train loss 2.0000",
        "epoch 1 (last 2): train loss 2.0000, val loss 0.5000, val/f1_macro 0.1000 (best)",
        "epoch 2 (last 2): train loss 2.0000, val loss 0.5000, val/f1_macro nan (best 0.1000 in epoch 1)",
    ]


def test_time_left_counts_from_where_a_resumed_run_began(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, clock: list[float]
) -> None:
    made = EpochTable(tmp_path / "metrics.csv", MonitorConfig(), 300)
    made.start_at(98)
    clock[0] += 1000  # loaders, and the features of a frozen trunk
    made.on_train_start(L.Trainer(logger=False, accelerator="cpu"), L.LightningModule())
    with caplog.at_level(logging.INFO, logger="medimg"):
        clock[0] += 60
        log_epoch(made, 98, 0.5)
    assert caplog.messages[0].endswith("60.0 s, 3:21:00 left")  # 201 epochs of a minute


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (3599.7, "1:00:00"), (90000, "25:00:00")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert epoch_table._duration(seconds) == shown
