"""The data module: which images come in which order, varied or not, with Lightning alone and no Hydra."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from medimg.config import AugmentConfig, CovidPhantomConfig, ImageFolderConfig, SGDConfig, SmallCNNConfig
from medimg.data import CovidPhantomDataModule, ImageFolderDataModule
from medimg.data.dataset import Batch
from medimg.data.preprocessing import Preprocessing
from medimg.errors import RequestError
from medimg.models import ImageClassifier

SIZE = Preprocessing(8, 8, (0.5,) * 3, (0.25,) * 3, 3)
Folder = Callable[..., Path]


@pytest.fixture
def root(make_folder: Folder) -> Path:
    return make_folder({"train/a": 15, "train/b": 5, "val/a": 4, "val/b": 4, "test/a": 3, "test/b": 2})


def module(root: Path, *, preprocessing: Preprocessing | None = SIZE, **options: Any) -> ImageFolderDataModule:
    ours = {name: options.pop(name) for name in ("seed", "augmentation", "same_batches") if name in options}
    config = ImageFolderConfig(root=str(root), **({"batch_size": 4, "num_workers": 0} | options))
    return ImageFolderDataModule(config, preprocessing=preprocessing, **ours)


def epochs(data: ImageFolderDataModule, count: int) -> list[list[int]]:
    """The images of each epoch, as Lightning asks for them."""
    loader = data.train_dataloader()
    found = []
    for epoch in range(count):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        found.append([index for batch in loader for index in batch.index.tolist()])
    return found


def test_the_order_is_that_of_seed_and_epoch_whatever_loads_it(root: Path) -> None:
    first, second = epochs(module(root), 2)
    assert sorted(first) == sorted(second)
    assert len(first) == 20
    assert first != second
    assert first != sorted(first)
    assert epochs(module(root, num_workers=2), 2) == [first, second]
    assert epochs(module(root, seed=1), 1) != [first]
    assert epochs(module(root, same_batches=True), 2) == [first, first]


def test_pixels_are_the_same_whatever_loads_them(root: Path) -> None:
    one, other = (next(iter(module(root, num_workers=workers).train_dataloader())) for workers in (0, 1))
    assert torch.equal(one.image, other.image)
    assert (one.image.dtype, one.image.shape) == (torch.uint8, (4, 3, 8, 8))


def test_the_balanced_order_draws_all_classes_alike(root: Path) -> None:
    data = module(root, sampler="balanced")
    labels = [data.manifest.records[index].label for epoch in epochs(data, 40) for index in epoch]
    assert len(labels) == 40 * 20
    assert labels.count("b") / len(labels) == pytest.approx(0.5, abs=0.06)


def test_evaluation_takes_every_image_once_in_order(root: Path) -> None:
    data = module(root)
    data.predict_splits = ("val", "test")
    loaders = {"val": data.val_dataloader(), "test": data.test_dataloader()}
    predicted = dict(zip(data.predict_splits, data.predict_dataloader(), strict=True))
    for split, loader in loaders.items():
        expected = [record.path for record in data.manifest.records if record.split == split]
        for each in (loader, predicted[split]):
            found = [data.manifest.records[index].path for batch in each for index in batch.index.tolist()]
            assert found == expected
    labels = torch.cat([batch.label for batch in data.val_dataloader()])
    assert labels.tolist() == [0] * 4 + [1] * 4
    assert data.classes == ("a", "b")
    assert data.positive_class == "b"


def test_splits_that_are_not_there(make_folder: Folder) -> None:
    data = module(make_folder({"a": 6, "b": 6}), val_fraction=0.0)
    assert data.val_dataloader() == []
    with pytest.raises(RequestError, match="no test split; it has train"):
        data.test_dataloader()


def test_a_validation_split_smaller_than_the_processes_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medimg.data.sampler._place", lambda rank, world_size: (8, 9))
    with pytest.raises(RequestError, match=r"8 images, fewer than there are processes[\s\S]*trainer\.devices"):
        module(root).val_dataloader()
    assert len(module(root).test_dataloader()) == 0  # a test split may be: no process waits for another


def test_without_a_size_it_says_what_is_missing(root: Path) -> None:
    with pytest.raises(RequestError, match="preprocessing"):
        module(root, preprocessing=None).train_dataloader()


class Watched(ImageClassifier):
    """Keeps the images that it gets, by stage."""

    def __init__(self) -> None:
        config = SmallCNNConfig(widths=(4,))
        super().__init__(config, ("a", "b"), image_size=8, optimizer=SGDConfig(lr=1e-6))
        self.seen: dict[str, dict[int, torch.Tensor]] = {"train": {}, "val": {}, "predict": {}}

    def _note(self, stage: str, batch: Batch) -> None:
        self.seen[stage] |= dict(zip(batch.index.tolist(), batch.image, strict=True))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self._note("train", batch)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._note("val", batch)
        super().validation_step(batch, batch_idx)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Any:
        self._note("predict", batch)
        return super().predict_step(batch, batch_idx, dataloader_idx)


def trainer(max_epochs: int = 1) -> L.Trainer:
    """As a notebook makes it."""
    return L.Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def in_unit(data: ImageFolderDataModule, split: str, indices: list[int]) -> Iterator[tuple[int, torch.Tensor]]:
    dataset = data._dataset(split)  # type: ignore[arg-type]
    for number, index in enumerate(dataset.indices):
        if index in indices:
            yield index, dataset[number][0].float() / 255  # type: ignore[union-attr]


def test_images_are_varied_in_training_alone(root: Path) -> None:
    data = module(root, preprocessing=None, augmentation=AugmentConfig(brightness=0.3, noise=0.05))
    model, lightning = Watched(), trainer()
    lightning.fit(model, datamodule=data)  # takes the size from the model
    lightning.predict(model, datamodule=data)
    assert data.preprocessing == model.preprocessing
    assert len(model.seen["train"]) == 20
    for index, pixels in in_unit(data, "train", list(model.seen["train"])):
        assert not torch.allclose(model.seen["train"][index], pixels, atol=0.01)
    for stage in ("val", "predict"):
        assert len(model.seen[stage]) == 8
        for index, pixels in in_unit(data, "val", list(model.seen[stage])):
            assert torch.equal(model.preprocessing.to_unit(model.seen[stage][index]), pixels)


def test_each_epoch_varies_an_image_in_its_own_way(root: Path) -> None:
    def seen(epochs: int, seed: int = 0) -> dict[int, torch.Tensor]:
        model = Watched()
        trainer(epochs).fit(model, datamodule=module(root, augmentation=AugmentConfig(rotate=20.0), seed=seed))
        return model.seen["train"]

    first, second, other = seen(1), seen(2), seen(1, seed=1)
    assert not any(torch.equal(first[index], second[index]) for index in first)
    assert not any(torch.equal(first[index], other[index]) for index in first)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_told_by_the_main_process(root: Path, workers: int) -> None:
    broken = sorted((root / "val" / "b").iterdir())[2]
    broken.write_bytes(b"no image")
    with pytest.raises(RequestError, match=broken.name):
        trainer().fit(Watched(), datamodule=module(root, num_workers=workers, preprocessing=None))


def test_phantoms_in_a_notebook(tmp_path: Path) -> None:
    """No Hydra, no run folder: a data module, a classifier and Lightning's own trainer."""
    config = CovidPhantomConfig(size=16, patients_per_class=6, images_per_patient=1, batch_size=4, num_workers=0)
    data = CovidPhantomDataModule(config, cache=tmp_path)
    model = ImageClassifier(SmallCNNConfig(widths=(4,)), data.classes, image_size=16)
    lightning = trainer()
    lightning.fit(model, datamodule=data)
    assert 0 <= float(lightning.callback_metrics["val/f1_macro"]) <= 1
    assert data.manifest.synthetic
    assert {"train", "val", "test"} == set(data.manifest.counts())


def test_a_manifest_given_by_hand_takes_the_window_of_the_config_unless_it_has_its_own(root: Path) -> None:
    manifest = module(root).manifest
    config = ImageFolderConfig(root=str(root), window="lung")
    assert ImageFolderDataModule(config, preprocessing=SIZE, manifest=manifest).manifest.window == "lung"
    own = replace(manifest, window="bone")
    assert ImageFolderDataModule(config, preprocessing=SIZE, manifest=own).manifest.window == "bone"
