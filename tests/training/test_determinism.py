"""What torch draws in training depends on (seed, epoch, step, process), never on what was drawn before."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from medimg.config.compose import load
from medimg.data.load import load_manifest
from medimg.runs import RunFolder
from medimg.training.determinism import StatelessRandomness
from medimg.training.experiment import Experiment


class Pollute(Callback):
    """Draws from the generator wherever it may, as figures, metrics or a user's callback might."""

    def on_train_epoch_start(self, *_: object) -> None:
        torch.rand(17)

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        torch.manual_seed(trainer.global_step)

    def on_validation_epoch_end(self, *_: object) -> None:
        torch.randn(3)


Trained = tuple[dict[str, torch.Tensor], dict[str, str | None]]


@pytest.fixture
def trained(tmp_path: Path, make_folder: Callable[..., Path]) -> Callable[..., Trained]:
    """Two epochs with dropout and augmentation; the weights, and the split of each image."""
    root = make_folder({"a": 10, "b": 10})
    source = ["data=image_folder", f"data.root={root}", "data.image_size=8", "data.batch_size=4", "data.num_workers=0"]
    model = ["model.widths=[4]", "model.dropout=0.5", "augment=strong", "optimizer.lr=0.01", "trainer.max_epochs=2"]
    quiet = ["trainer.accelerator=cpu", "logger=none", "callbacks.figures=null", f"paths.runs={tmp_path}"]
    config = [*source, *model, *quiet]
    runs = iter(range(100))

    def train(*overrides: str, callbacks: tuple[Callback, ...] = ()) -> Trained:
        checked = load([*config, *overrides])
        manifest = load_manifest(checked.data, tmp_path)
        folder = RunFolder(tmp_path / f"run{next(runs)}")
        experiment = Experiment(checked, folder, manifest, load_weights=True)
        experiment.trainer.callbacks[:0] = callbacks
        experiment.fit(None)
        return dict(experiment.classifier.state_dict()), {record.path: record.split for record in manifest.records}

    return train


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_what_others_draw_changes_nothing_and_another_seed_does(trained: Callable[..., Trained]) -> None:
    weights, split = trained()
    polluted, _ = trained(callbacks=(Pollute(),))
    assert same(weights, polluted)
    other, split_of_other = trained("seed=1")
    assert not same(weights, other)
    assert split == split_of_other  # so that scores of seeds can be compared
    assert trained("data.split_seed=1", "trainer.limit_train_batches=1", "trainer.max_epochs=1")[1] != split


def drawn(seed: int, epoch: int, step: int, process: int) -> float:
    trainer: Any = SimpleNamespace(current_epoch=epoch, global_rank=process)
    module: Any = SimpleNamespace(device=torch.device("cpu"))
    StatelessRandomness(seed).on_train_batch_start(trainer, module, None, step)
    return float(torch.rand(()))


def test_each_seed_epoch_step_and_process_draws_its_own() -> None:
    places = [
        (seed, epoch, step, process) for seed in (0, 1) for epoch in (0, 1) for step in (0, 1) for process in (0, 1)
    ]
    numbers = [drawn(*place) for place in places]
    assert len(set(numbers)) == len(places)
    assert [drawn(*place) for place in reversed(places)] == numbers[::-1]
