"""Training on the features of a frozen trunk is the same training, at the price of one pass."""

import os
import shutil
import signal
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY, draw_folder
from test_resume import interrupt_after, weights
from torchvision.models import resnet18

from medimg.config.compose import load
from medimg.config.training import TrainConfig
from medimg.data.cache.contents import clear
from medimg.data.cache.entries import entries
from medimg.data.dataset import ImageDataset
from medimg.errors import Interrupted, RequestError
from medimg.evaluation.predictions import Predictions
from medimg.inference.evaluate import evaluate_run
from medimg.runs import RunFolder
from medimg.training import experiment
from medimg.training.job import resume_job, run_job

COUNTS = {"train/a": 14, "train/b": 13, "test/a": 5, "test/b": 4}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images, and beside them the weights of a trunk, which without a file would be another for each seed."""
    torch.manual_seed(0)
    torch.save(resnet18(weights=None).state_dict(), tmp_path / "trunk.pth")
    return draw_folder(tmp_path / "images", COUNTS, size=32)


def config(images: Path, *more: str) -> TrainConfig:
    home = images.parent
    return load(
        [*TINY, "data=image_folder", f"data.root={images}", "data.image_size=32", "data.batch_size=8", "data.check=off",
         "model=resnet18", f"model.weights={home}/trunk.pth", "model.freeze=true", "model.dropout=0.3",
         "optimizer.lr=0.05", "trainer.max_epochs=3", "logger=none", "callbacks.figures=null",
         "evaluation.resamples=100", f"paths.cache={home}/cache", f"paths.runs={home}", *more]
    )  # fmt: skip


def train(images: Path, name: str, *more: str) -> RunFolder:
    folder = RunFolder(images.parent / name)
    run_job(config(images, *more), folder, in_sweep=True)
    return folder


@pytest.fixture
def trunk_runs(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many images the trunk has run over; `shape` counts those of one colour, which tell the shape of features."""
    counted: Counter[str] = Counter()
    forward = torch.nn.Conv2d.forward

    def count(self: torch.nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
        if self.in_channels == 3 and images[:, 0].std() > 0.01:
            counted["images"] += len(images.flatten(1).unique(dim=0))  # a batch is filled up with its last one
        elif self.in_channels == 3:
            counted["shape"] += len(images)
        return forward(self, images)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", count)
    return counted


def same(one: RunFolder, other: RunFolder) -> None:
    """The same order, dropout and metrics, and weights to rounding."""
    tables = [np.genfromtxt(folder.metrics_file, delimiter=",", names=True) for folder in (one, other)]
    assert tables[0].dtype.names == tables[1].dtype.names
    for column in set(tables[0].dtype.names) - {"seconds"}:
        assert np.allclose(tables[0][column], tables[1][column], atol=1e-4, equal_nan=True), column
    left, right = weights(one), weights(other)
    assert all(torch.allclose(left[name], right[name], atol=1e-5) for name in left)
    logits = [Predictions.read_csv(folder.predictions("val")).logits for folder in (one, other)]
    assert np.allclose(*logits, atol=1e-4)


def test_one_pass_gives_what_a_pass_in_every_epoch_gives(
    images: Path, trunk_runs: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    plain = train(images, "plain", "data.cache=none")
    assert trunk_runs["images"] == 3 * 27 + 5  # five of the 27 are validation, and evaluated once more at the end
    trunk_runs.clear()
    with caplog.at_level("INFO", "medimg"):
        cached = train(images, "cached")
    assert trunk_runs["images"] == 27
    assert {"the frozen trunk runs over 22 images of train", "the frozen trunk runs over 5 images of val"} <= {
        *caplog.messages
    }
    names = {entry.kind: entry.about["name"] for entry in entries(images.parent / "cache")}
    assert names["features"] == f"ResNet on {images}, 32 x 32 pixels, 32-true"
    same(plain, cached)
    in_memory = train(images, "memory", "data.cache=memory")
    same(plain, in_memory)

    trunk_runs.clear()
    train(images, "other", "optimizer=sgd", "seed=5", "loss=focal", "model.dropout=0.0")
    assert trunk_runs == {"shape": 1}, "other heads and seeds find everything there"
    (table,) = [entry for entry in entries(images.parent / "cache") if entry.kind == "features"]
    with (table.folder / "float32.rows").open("r+b") as stream:
        stream.seek(-7, os.SEEK_END)
        stream.write(b"damaged")
    clear(images.parent / "cache", ["images"])
    same(cached, train(images, "mended"))
    assert trunk_runs["images"] == 22, "a damaged row is made again, with the block that it is in"
    train(images, "warm", "trainer.max_epochs=1")
    kept = [entry.kind for entry in entries(images.parent / "cache")]
    assert kept.count("images") == 1, "which needs its image"
    clear(images.parent / "cache", ["images"])
    train(images, "warmer", "trainer.max_epochs=1")
    assert [entry.kind for entry in entries(images.parent / "cache")] == ["features"], "others are not opened"
    train(images, "fold-0", "data.folds=3", "data.fold=0", "trainer.max_epochs=1")
    trunk_runs.clear()
    train(images, "fold-1", "data.folds=3", "data.fold=1", "trainer.max_epochs=1")
    assert trunk_runs["images"] == 0, "and so do other folds"
    train(images, "tested", "evaluate_test=true")
    assert trunk_runs["images"] == 9, "only the test images are new"

    trunk_runs.clear()
    before = (cached.predictions("val")).read_bytes()
    shutil.rmtree(images.parent / "cache")
    evaluate_run(cached, split="val")
    assert cached.predictions("val").read_bytes() == before, "the same numbers where the cache has been emptied"


def test_evaluation_varies_nothing_and_says_nothing_of_it(
    images: Path, trunk_runs: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = train(images, "varied", "augment=rotate_zoom", "trainer.max_epochs=1")
    before = np.array(Predictions.read_csv(folder.predictions("val")).logits)
    caplog.clear()
    trunk_runs.clear()
    with caplog.at_level("INFO", "medimg"):
        evaluate_run(folder, split="val")
        evaluate_run(folder, split="val")
    assert trunk_runs["images"] == 5, "the features are kept"
    assert "augment" not in caplog.text
    assert np.allclose(Predictions.read_csv(folder.predictions("val")).logits, before, atol=1e-4)


def test_compilation_is_told_and_where_it_has_nothing_to_do(
    images: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment, "compiled", lambda *_: nullcontext())
    with caplog.at_level("INFO", "medimg"):
        train(images, "compiled", "trainer.compile=true", "trainer.max_epochs=1")
        assert caplog.text.count("trainer.compile has nothing to do") == 1
        caplog.clear()
        train(images, "plain", "trainer.max_epochs=1")
        assert "trainer.compile" not in caplog.text and "compiling" not in caplog.text
        train(images, "whole", "trainer.compile=true", "trainer.max_epochs=1", "model.freeze=params")
        assert caplog.text.count("compiling the backbone in the first steps, which can take minutes") == 1


def test_what_changes_features_is_another_table(images: Path, trunk_runs: Counter[str]) -> None:
    train(images, "one", "trainer.max_epochs=1")
    state = torch.load(images.parent / "trunk.pth")
    torch.save(state | {"bn1.bias": torch.ones(64)}, images.parent / "other.pth")
    weights_of_its_own = f"model.weights={images.parent / 'other.pth'}"
    for change in ("data.image_size=40", "data.region=center", "data.normalize=false", weights_of_its_own):
        trunk_runs.clear()
        train(images, change.partition("=")[0], change, "trainer.max_epochs=1")
        assert trunk_runs["images"] == 27, change


def test_features_of_a_file_that_has_changed_meanwhile_do_not_go_under_the_old_name(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = next((images / "train" / "a").iterdir())
    load = ImageDataset.__getitems__

    def changed_before(self: ImageDataset, numbers: list[int]) -> object:
        file.write_bytes(next((images / "train" / "b").iterdir()).read_bytes())
        return load(self, numbers)

    monkeypatch.setattr(ImageDataset, "__getitems__", changed_before)
    with pytest.raises(RequestError, match=rf"{file.name} was changed while this run reads"):
        train(images, "run")


def test_views_are_fixed_and_each_is_made_once(images: Path, trunk_runs: Counter[str]) -> None:
    views = ("augment=rotate_zoom", "augment.views=2")
    plain = train(images, "plain", *views, "data.cache=none")
    trunk_runs.clear()
    cached = train(images, "cached", *views)
    assert trunk_runs["images"] == 2 * 22 + 5
    same(plain, cached)


def test_what_changes_from_epoch_to_epoch_is_not_cached(images: Path, trunk_runs: Counter[str]) -> None:
    train(images, "varied", "augment=rotate_zoom")
    assert trunk_runs["images"] == 3 * 27 + 5
    trunk_runs.clear()
    train(images, "params", "model.freeze=params")
    assert trunk_runs["images"] == 3 * 27 + 5
    with pytest.raises(RequestError, match=r"needs model\.freeze=true"):
        config(images, "augment=rotate_zoom", "augment.views=2", "model.freeze=params")
    with pytest.raises(RequestError, match="nothing is varied"):
        config(images, "augment.views=2")


def test_a_run_on_features_is_resumed_in_the_middle_of_an_epoch(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = ("augment=rotate_zoom", "augment.views=2")
    whole = train(images, "whole", *views)
    folder = RunFolder(images.parent / "run")
    with monkeypatch.context() as patched:
        interrupt_after(patched, 0, signal.SIGTERM)
        with pytest.raises(Interrupted):
            run_job(config(images, *views), folder, in_sweep=True)
    resume_job(str(folder.path), images.parent)
    assert all(
        torch.equal(left, right) for left, right in zip(*(weights(f).values() for f in (whole, folder)), strict=True)
    )


def test_an_unreadable_image_ends_the_pass_by_name(images: Path) -> None:
    next((images / "train" / "b").iterdir()).write_bytes(b"no image")
    with pytest.raises(RequestError, match=r"train/b/.*\.png"):
        train(images, "broken")
