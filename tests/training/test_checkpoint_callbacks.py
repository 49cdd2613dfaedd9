"""Which epochs are kept, by scores that are written down beforehand."""

import math
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from medimg.config import MonitorConfig
from medimg.training.checkpoint_callbacks import checkpoints
from medimg.training.selection import rank

F1 = MonitorConfig()
LOSS = MonitorConfig(metric="val/loss", mode="min")
Script = list[tuple[float, float]]


class Scripted(L.LightningModule):
    """Logs (val/f1_macro, val/loss) of each epoch as the script has them."""

    def __init__(self, script: Script) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.script = script

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.layer(batch).mean()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        pass

    def on_validation_epoch_end(self) -> None:
        f1, loss = self.script[self.current_epoch]
        self.log_dict({"val/f1_macro": f1, "val/loss": loss})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def run(
    folder: Path,
    script: Script,
    monitor: MonitorConfig | None = F1,
    *,
    every_epoch: bool = False,
    checkpoint: Path | None = None,
    **options: Any,
) -> dict[str, int]:
    """Trains for as many epochs as the script has; the epoch that each file is of."""
    trainer = L.Trainer(
        max_epochs=len(script),
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=checkpoints(every_epoch=every_epoch, folder=folder, monitor=monitor),
        **options,
    )
    data = DataLoader(torch.ones(2, 1))
    trainer.fit(Scripted(script), data, data if monitor else None, ckpt_path=checkpoint, weights_only=True)
    return {file.name: torch.load(file, weights_only=True)["epoch"] for file in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("script", "monitor", "best"),
    [
        ([(0.5, 1.0), (0.9, 2.0), (0.7, 0.5)], F1, 1),
        ([(0.8, 1.0), (0.8, 0.5), (0.8, 0.7)], F1, 1),  # a tie goes to the lower loss
        ([(0.8, 0.5), (0.8, 0.5), (0.7, 0.1)], F1, 0),  # a later one that is no better does not replace it
        ([(0.0, 1.0), (0.0, 1.1), (0.0, 0.9)], F1, 2),  # nothing is learnt, and yet there is a best
        ([(0.9, 3.0), (0.5, 1.0), (0.9, 2.0)], LOSS, 1),
        ([(0.5, 1.0), (0.9, 1.0), (0.9, 2.0)], LOSS, 0),
        ([(math.nan, 1.0), (0.1, 2.0), (math.nan, 0.1)], F1, 1),  # what is not defined is worse than anything
        ([(math.nan, 1.0), (math.nan, 0.5)], F1, 1),
    ],
)
def test_the_best_epoch(tmp_path: Path, script: Script, monitor: MonitorConfig, best: int) -> None:
    assert run(tmp_path, script, monitor) == {"best.ckpt": best, "last.ckpt": len(script) - 1}


def test_every_epoch_is_kept_where_asked(tmp_path: Path) -> None:
    found = run(tmp_path, [(0.9, 1.0), (0.5, 1.0)], every_epoch=True)
    assert found == {"best.ckpt": 0, "epoch_000.ckpt": 0, "epoch_001.ckpt": 1, "last.ckpt": 1}


def test_an_epoch_with_several_names_is_one_file(tmp_path: Path) -> None:
    """A full state can have hundreds of megabytes. What replaces one name leaves the others as they are."""
    run(tmp_path / "better", [(0.5, 1.0), (0.9, 1.0)], every_epoch=True)
    inode = {file.name: file.stat().st_ino for file in (tmp_path / "better").iterdir()}
    assert inode["best.ckpt"] == inode["epoch_001.ckpt"] == inode["last.ckpt"] != inode["epoch_000.ckpt"]
    run(tmp_path / "worse", [(0.9, 1.0), (0.5, 1.0)], every_epoch=True)
    inode = {file.name: file.stat().st_ino for file in (tmp_path / "worse").iterdir()}
    assert inode["best.ckpt"] == inode["epoch_000.ckpt"] != inode["last.ckpt"] == inode["epoch_001.ckpt"]


def test_without_validation_there_is_a_last_epoch_and_no_best(tmp_path: Path) -> None:
    assert run(tmp_path, [(0.0, 0.0)] * 2, None, every_epoch=True) == {
        "epoch_000.ckpt": 0,
        "epoch_001.ckpt": 1,
        "last.ckpt": 1,
    }


def test_the_last_epoch_is_kept_where_it_is_not_validated(tmp_path: Path) -> None:
    """The best is among those that are."""
    found = run(tmp_path, [(0.9, 1.0), (0.5, 1.0), (0.9, 1.0)], every_epoch=True, check_val_every_n_epoch=2)
    assert found == {"best.ckpt": 1, "epoch_000.ckpt": 0, "epoch_001.ckpt": 1, "epoch_002.ckpt": 2, "last.ckpt": 2}


def test_a_resumed_run_knows_the_best_so_far(tmp_path: Path) -> None:
    script = [(0.8, 0.5), (0.6, 1.0)]
    assert run(tmp_path, script)["best.ckpt"] == 0
    longer = [*script, (0.8, 0.6), (0.8, 0.5)]  # ties that do not win
    assert run(tmp_path, longer, checkpoint=tmp_path / "last.ckpt") == {"best.ckpt": 0, "last.ckpt": 3}
    assert run(tmp_path, [*longer, (0.8, 0.4)], checkpoint=tmp_path / "last.ckpt") == {"best.ckpt": 4, "last.ckpt": 4}


def test_rank() -> None:
    assert rank({"val/loss": 1.0}, F1) is None
    better, worse = rank({"val/f1_macro": 0.5}, F1), rank({"val/f1_macro": 0.4, "val/loss": 0.0}, F1)
    assert better is not None
    assert worse is not None
    assert better > worse
    assert rank({"val/loss": torch.tensor(2.0)}, LOSS) == (-2.0, -2.0)
