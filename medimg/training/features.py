"""The features that a frozen trunk makes of images: computed once, in one pass, and trained on from then on."""

import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

import medimg.data.augment
import medimg.models.classifier
import medimg.models.pieces
from medimg.config import TrainConfig
from medimg.config.check import as_dict
from medimg.config.features import keeps_features
from medimg.data.augment import augment
from medimg.data.cache.digests import code_digest, versions_of
from medimg.data.cache.rows import Rows
from medimg.data.datamodule import ImageDataModule
from medimg.data.dataset import Batch, FeatureDataset, ImageDataset, collate, raise_unreadable
from medimg.data.loader import AheadLoader
from medimg.data.preprocessing import Preprocessing
from medimg.data.sampler import EpochSampler, ShardSampler
from medimg.errors import MedimgError, RequestError
from medimg.models.classifier import ImageClassifier
from medimg.models.trunk_identity import trunk_identity
from medimg.randomness import derive_seed

_BLOCK = 32  # images that the trunk runs over at once
_VARYING = Path(medimg.data.augment.__file__)
_COMPUTING = (Path(__file__), Path(medimg.models.classifier.__file__), Path(medimg.models.pieces.__file__))

log = logging.getLogger(__name__)


def use_features(
    data: ImageDataModule,
    classifier: ImageClassifier,
    trainer: L.Trainer,
    config: TrainConfig,
    poll: Callable[[], None] = lambda: None,
) -> None:
    """Lets the data module give features in the place of images, where that is the same training.

    It is where the trunk is frozen whole, an image is seen in the same way in every epoch (or in one of `augment.views`
    ways), epochs are whole, and `data.cache` keeps anything.

    Args:
        data: of the run.
        classifier: on whatever device; the trainer moves it before it asks for batches.
        trainer: whose device and precision the trunk runs in.
        config: of the run.
        poll: called between batches of the pass; raises where it is to end.
    """
    if classifier.tta is not None:
        return
    if not keeps_features(as_dict(config)):
        if classifier.backbone.freeze is True and data.cache.mode != "none":
            varied = config.augment.varies and config.augment.views is None
            why = "augment varies images anew (augment.views=K keeps K views)" if varied else "epochs are cut short"
            log.info("%s, so the frozen trunk runs in each epoch", why)
        return
    if config.augment.views is not None:
        log.info(
            "augment.views=%d: fixed variations of each image, in turn: another experiment than new ones each time",
            config.augment.views,
        )
    data.features = FrozenFeatures(data, classifier, trainer, config.trainer.max_epochs, poll)


class FrozenFeatures:
    """Tables of features: one of the images as they are, and one of their views where training has any."""

    def __init__(
        self,
        data: ImageDataModule,
        classifier: ImageClassifier,
        trainer: L.Trainer,
        epochs: int,
        poll: Callable[[], None],
    ) -> None:
        self.data, self.classifier, self.trainer = data, classifier, trainer
        self.epochs, self.poll = epochs, poll
        self._tables: dict[int | None, Rows | None] = {}

    def of(self, dataset: ImageDataset, sampler: EpochSampler | ShardSampler) -> Dataset[Batch] | None:
        """The split's features; those that are not there yet are made now, in one pass for each view.

        Raises:
            RequestError: an image cannot be read.
        """
        training = isinstance(sampler, EpochSampler)
        views = self.data.augmentation.views if training and self.data.augmentation.varies else None
        if views not in self._tables:
            self._tables[views] = self._open(views)
        rows, per_view = self._tables[views], len(self.data.manifest.records)
        if rows is None:
            return None
        for view in range(min(views, self.epochs) if views else 1):
            if not self._fill(rows, dataset, view * per_view, view if views else None):
                self._tables[views] = None
                return None
        return FeatureDataset(dataset, rows, partial(_view, sampler, views or 1), per_view)

    def _open(self, views: int | None) -> Rows | None:
        network = self.classifier.backbone
        trunk = trunk_identity(network, self.classifier.hparams["model"])
        if trunk is None:
            log.info("features are not cached: the code of %s is in no file", type(network.net).__name__)
            return None
        shape = tuple(self._compute(self.classifier.example()).shape[1:])
        number = len(self.data.manifest.records) * (views or 1)
        name = type(network.net).__name__
        return self.data.cache.open(
            "features",
            self._depends_on(trunk, views),
            {"name": f"{name} on {self._described(views)}", "rows": number, "shape": list(shape)},
            number=number,
            shape=shape,
            itemsize=4,
        )

    def _described(self, views: int | None) -> str:
        """The images as `medimg cache` names them, so that tables can be told apart."""
        size = self.classifier.preprocessing
        varied = "" if views is None else f", {views} views"
        return f"{self.data.manifest.root}, {size.height} x {size.width} pixels{varied}, {self.trainer.precision}"

    def _fill(self, rows: Rows, dataset: ImageDataset, start: int, view: int | None) -> bool:
        """Makes what is missing; False where it cannot be kept.

        Other processes may be at the same: each begins at another place, and takes what it finds.
        """
        blocks = [range(first, min(first + _BLOCK, len(dataset))) for first in range(0, len(dataset), _BLOCK)]

        def lacks(block: range) -> bool:
            # read, and not only looked up: a row that is damaged is made again as well
            return any(rows.get(start + dataset.indices[number]) is None for number in block)

        missing = [block for block in blocks if lacks(block)]
        if not missing:
            return True
        total = sum(map(len, missing))
        part = f"{dataset.split}{'' if view is None else f', view {view}'}"
        log.info("the frozen trunk runs over %d images of %s", total, part)
        turn = derive_seed(os.getpid()) % len(missing)  # processes that are forked together have adjacent numbers
        in_turn = (list(block) for block in (*missing[turn:], *missing[:turn]) if lacks(block))
        loader: AheadLoader[Batch] = AheadLoader(
            dataset,  # type: ignore[arg-type]  # collate makes batches of its items
            batch_sampler=in_turn,
            collate_fn=collate,
        )
        hidden = self.trainer.progress_bar_callback is None
        looked_at = 0
        for batch in tqdm(loader, "trunk", total=len(missing), disable=hidden, leave=False, unit="batch"):
            self.poll()
            raise_unreadable(batch)
            if all(rows.has(start + index) for index in batch.index.tolist()):
                continue  # another process has been faster
            looked_at += len(batch.index)
            if not self._keep(rows, batch, start, view):
                return False
        if looked_at < total:
            log.info("another process has made %d of them", total - looked_at)
        return True

    def _keep(self, rows: Rows, batch: Batch, start: int, view: int | None) -> bool:
        images = batch.image.to(self.classifier.device)
        if view is not None:
            images = Preprocessing.to_unit(images)
            images = augment(images, batch.index, self.data.augmentation, self.data.seed, view)
        features = self._run(images).cpu().numpy()
        self._refuse_changed(batch)
        try:
            for index, row in zip(batch.index.tolist(), features, strict=True):
                if not rows.has(start + index):  # another process may train on it
                    rows.put(start + index, row)
        except OSError as error:
            reason = f"features cannot be written to {self.data.cache.folder}: {error.strerror or error}"
            if self.data.cache.mode == "disk":
                raise MedimgError(f"{reason}\n  make room, or go without: data.cache=memory or none") from error
            log.warning("%s: the trunk runs in every epoch", reason)
            return False
        return True

    def _refuse_changed(self, batch: Batch) -> None:
        """Features of another content must not go under the name of the one that was hashed."""
        files = self.data.files
        for index in batch.index.tolist():
            if not files.is_as_hashed(index):
                path = files.manifest.records[index].path
                raise RequestError(f"{path} was changed while this run reads the images\n  start it again")

    def _run(self, images: Tensor) -> Tensor:
        """Float32 [B, ...], always for as many images, the last one repeated.

        The last bit depends on how many are computed together, and must not depend on what was in the table.
        """
        filled = torch.cat([images, images[-1:].expand(_BLOCK - len(images), -1, -1, -1)])
        return self._compute(filled)[: len(images)]

    def _compute(self, images: Tensor) -> Tensor:
        """Float32 [B, ...], in the precision of training."""
        with torch.inference_mode(), self.trainer.precision_plugin.forward_context():
            return self.classifier.features(images)

    def _depends_on(self, trunk: list[object], views: int | None) -> dict[str, Any]:
        """All that features depend on: the images, their views, the trunk, and how it is computed."""
        preprocessing, device = self.classifier.preprocessing, self.trainer.strategy.root_device.type
        return {
            "images": self.data.files.identity(self.data.cache.folder).depends_on,
            "normalisation": [list(preprocessing.mean), list(preprocessing.std)],
            "trunk": trunk,
            "code": code_digest(*_COMPUTING),
            "libraries": versions_of(("torch", "torchvision")),
            "computed": [
                _BLOCK,
                device,
                str(self.trainer.precision),
                torch.get_float32_matmul_precision(),
                str(self.classifier.backbone.memory_format),
            ],
            "views": None
            if views is None
            else [as_dict(self.data.augmentation), self.data.seed, code_digest(_VARYING)],
        }


def _view(sampler: EpochSampler | ShardSampler, views: int) -> int:
    """Which view an epoch sees."""
    return sampler.epoch % views if isinstance(sampler, EpochSampler) else 0
