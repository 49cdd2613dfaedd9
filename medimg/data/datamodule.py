"""The LightningDataModules: a manifest in, batches out, the same for every source."""

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import lightning as L
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from medimg.config import (
    AugmentConfig,
    CovidPhantomConfig,
    CovidXrayConfig,
    CTConfig,
    CTPhantomConfig,
    DataConfig,
    ImageFolderConfig,
    ManifestConfig,
    MedMNISTConfig,
)
from medimg.data.augment import augment
from medimg.data.cache.entries import default_cache
from medimg.data.cache.opening import Cache
from medimg.data.dataset import Batch, ImageDataset, collate, raise_unreadable
from medimg.data.images import ImageFiles, Images, KeptImages, Unreadable, open_images
from medimg.data.load import load_manifest
from medimg.data.loader import AheadLoader, pays
from medimg.data.manifest import Manifest, Split
from medimg.data.preprocessing import Preprocessing
from medimg.data.sampler import EpochSampler, ShardSampler
from medimg.errors import RequestError
from medimg.processes import die_with


class FeatureSource(Protocol):
    """Gives what a frozen trunk makes of a split's images."""

    def of(self, dataset: ImageDataset, sampler: EpochSampler | ShardSampler) -> Dataset[Batch] | None:
        """The split as batches of features, in the epoch of the sampler; made now, as far as they are not there.

        None where there is no room for them.
        """


class ImageDataModule(L.LightningDataModule):
    """Loads the images of a manifest, split by split.

    The order of training images and their augmentation are functions of (seed, epoch, image); they do not depend on
    the number of workers, nor on what ran before.

    Args:
        config: the source, the split, and how to load.
        augmentation: variations of training images.
        preprocessing: size and channels; None: those of the model that is trained, asked when training starts.
        seed: the training seed.
        cache: where images are kept and phantoms are drawn; None: MEDIMG_CACHE, or ~/.cache/medimg.
        manifest: the images, where they have been loaded already; without a CT window of its own it takes the config's.
        same_batches: for debugging: every epoch has the order of the first.

    Attributes:
        features: where set, what gives features of a frozen trunk in the place of images.
        predict_splits: what `predict_dataloader` is to load.

    Raises:
        RequestError: the source cannot be used; the message says why, and what to do.
    """

    def __init__(
        self,
        config: DataConfig,
        *,
        augmentation: AugmentConfig = AugmentConfig(),  # noqa: B008 - frozen
        preprocessing: Preprocessing | None = None,
        seed: int = 0,
        cache: Path | None = None,
        manifest: Manifest | None = None,
        same_batches: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        self.augmentation = augmentation
        self.preprocessing = preprocessing
        self.seed = seed
        folder = cache or default_cache()
        self.manifest = manifest or load_manifest(config, folder)
        self.cache = Cache(folder, config.cache, round(config.cache_limit * 1e9))
        self.features: FeatureSource | None = None
        if self.manifest.window is None:
            self.manifest = replace(self.manifest, window=config.window)
        self.same_batches = same_batches
        self._start = (0, 0)
        self.predict_splits: Sequence[Split] = ("val",)
        # a process may be left without images of a small test split
        self.allow_zero_length_dataloader_with_multiple_devices = True

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their numbers."""
        return self.manifest.classes

    @property
    def positive_class(self) -> str | None:
        """The positive class of a binary task."""
        return self.manifest.positive_class

    def start_at(self, epoch: int, batches: int) -> None:
        """Where a resumed run goes on: in this epoch, after so many of its batches."""
        self._start = (epoch, batches)

    def setup(self, stage: str) -> None:
        """Asks the model for its preprocessing where none was given."""
        if self.preprocessing is None and self.trainer is not None:
            self.preprocessing = getattr(self.trainer.lightning_module, "preprocessing", None)

    @cached_property
    def files(self) -> ImageFiles:
        """The images of all splits, as the model takes them, read from their files.

        Raises:
            RequestError: nobody has said yet how the model takes them, or their CT windows do not go with that.
        """
        if self.preprocessing is None:
            raise RequestError(
                "the size of images is not known: give the data module a preprocessing, or train with it"
            )
        return ImageFiles(self.manifest, self.preprocessing, self.config.num_workers)

    @cached_property
    def images(self) -> Images:
        """The same, kept as `data.cache` says.

        Raises:
            RequestError: as `files`, or they cannot be kept.
        """
        return open_images(self.files, self.cache)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the train split, shuffled or balanced."""
        dataset = self._dataset("train")
        sampler = EpochSampler(dataset.labels, self.seed, self.config.sampler, same_order=self.same_batches)
        # workers fetch ahead as soon as the loader is made, before Lightning tells the sampler which epoch it is
        epoch, batches = self._start
        sampler.start_at(epoch, batches * self.config.batch_size)
        return self._loader(dataset, sampler)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Batches of the validation split; none where there is no such split."""
        return self._evaluation_loader("val") if self.manifest.of("val") else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test split.

        Raises:
            RequestError: there is no such split.
        """
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> list[DataLoader[Batch]]:
        """One loader for each of `predict_splits`."""
        return [self._evaluation_loader(split) for split in self.predict_splits]

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Stops where an image could not be read, in the process that can say so."""
        raise_unreadable(batch)
        return batch

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augments training images as a batch, on the device."""
        if self.trainer is None or not self.trainer.training or self.preprocessing is None:
            return batch
        if batch.features is not None or not self.augmentation.varies:
            return batch
        images = self.preprocessing.to_unit(batch.image)
        varied = augment(images, batch.index, self.augmentation, self.seed, self.trainer.current_epoch)
        return batch._replace(image=varied)

    def _dataset(self, split: Split) -> ImageDataset:
        if not self.manifest.of(split):
            raise RequestError(f"the data has no {split} split; it has {', '.join(self.manifest.counts())}")
        return ImageDataset(self.manifest, split, _Later(self))

    def _evaluation_loader(self, split: Split) -> DataLoader[Batch]:
        dataset = self._dataset(split)
        sampler = ShardSampler(len(dataset))
        if not len(sampler) and split == "val":  # while training, all processes have to take part
            raise RequestError(
                f"the val split has {len(dataset)} images, fewer than there are processes\n"
                "  use fewer trainer.devices, or more images: data.val_fraction"
            )
        return self._loader(dataset, sampler)

    def _loader(self, dataset: ImageDataset, sampler: EpochSampler | ShardSampler) -> DataLoader[Batch]:
        """Threads where images or features are kept; worker processes where each is read anew."""
        common: dict[str, Any] = {
            "batch_size": self.config.batch_size,
            "sampler": sampler,
            "pin_memory": self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        }
        features = None if self.features is None else self.features.of(dataset, sampler)
        if features is not None:
            kind = AheadLoader if pays(features, self.config.batch_size) else DataLoader
            return kind(features, collate_fn=_as_it_is, **common)  # type: ignore[arg-type]  # collated
        dataset.images = self.images  # which worker processes can be sent
        if isinstance(self.images, KeptImages):
            return AheadLoader(dataset, collate_fn=collate, **common)  # type: ignore[arg-type]  # as below
        workers = self.config.num_workers
        return DataLoader(
            dataset,  # type: ignore[arg-type]  # collate makes batches of its items
            num_workers=workers,
            collate_fn=collate,
            persistent_workers=workers > 0,
            # torch's own watch misses a parent that is killed while it starts its workers
            worker_init_fn=partial(_start_worker, os.getpid()) if workers else None,
            **common,
        )


class _Later:
    """A data module's images, not opened before they are asked for: where all features are kept, they never are."""

    def __init__(self, data: ImageDataModule) -> None:
        self.data = data

    def load(self, positions: Sequence[int]) -> list[Tensor | Unreadable]:
        """As `Images`."""
        return self.data.images.load(positions)

    def gather(self, positions: Sequence[int]) -> Tensor | None:
        """As `Images`."""
        return self.data.images.gather(positions)


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _start_worker(parent: int, _: int) -> None:
    die_with(parent)


class ImageFolderDataModule(ImageDataModule):
    """Class folders, with or without `train/`, `val/`, `test/` above them."""

    config: ImageFolderConfig


class ManifestDataModule(ImageDataModule):
    """A CSV with `path` and `label`, and `split`, `patient_id` and other columns where there are any."""

    config: ManifestConfig


class CTDataModule(ImageDataModule):
    """Chest CT slices: ILD, Lung_Cancer, Normal, pneumonia, pneumothorax."""

    config: CTConfig


class CovidXrayDataModule(ImageDataModule):
    """Chest X-rays, COVID-19 (the positive class) or normal."""

    config: CovidXrayConfig


class MedMNISTDataModule(ImageDataModule):
    """The `.npz` archives of MedMNIST, and MNIST as Keras ships it."""

    config: MedMNISTConfig


class CTPhantomDataModule(ImageDataModule):
    """Synthetic chest CT slices with the classes of `CTDataModule`."""

    config: CTPhantomConfig


class CovidPhantomDataModule(ImageDataModule):
    """Synthetic chest X-rays with the classes of `CovidXrayDataModule`."""

    config: CovidPhantomConfig
