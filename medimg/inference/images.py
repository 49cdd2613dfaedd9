"""Which images a trained model is evaluated on: those of its run, or another data set's with the same classes."""

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from medimg.config import DataConfig, ImageFolderConfig, ManifestConfig, MedMNISTConfig, PhantomConfig, TrainConfig
from medimg.config.check import Allowed, check
from medimg.config.compare import with_values
from medimg.data.changes import changes
from medimg.data.load import load_manifest, load_unsplit
from medimg.data.manifest import Manifest, Split, read_manifest_csv
from medimg.data.seen import seen_in, told
from medimg.errors import RequestError
from medimg.runs import RunFolder

log = logging.getLogger(__name__)

# what makes a split or stands in for patients: another data set is evaluated as it is
_OF_THE_SPLIT = ("folds", "fold", "group_by", "allow_patient_overlap")
_KINDS: dict[str, type[DataConfig]] = {".csv": ManifestConfig, ".npz": MedMNISTConfig}

# how images are loaded, and how those of another place are read; the run's own are read as they were
_LOADING = ("root", "batch_size", "num_workers", "cache", "cache_limit")
_READING = ("patient_regex", "class_aliases", "multiframe", "on_error", "window")


@dataclass(frozen=True)
class Images:
    """Images to evaluate on.

    Attributes:
        manifest: of them, with their split.
        config: the configuration of the run as it is for these images.
        name: of the data set in the names of folders; None: the run's own.
    """

    manifest: Manifest
    config: TrainConfig
    name: str | None = None


def run_config(folder: RunFolder, values: Mapping[str, Any], allow: Allowed | None = None) -> TrainConfig:
    """The run's configuration with these values in it."""
    return check(with_values(folder.read_config() | {"allow": None}, values), allow)


def images_of(folder: RunFolder, values: Mapping[str, Any], allow: Allowed | None = None) -> Images:
    """The images that `medimg evaluate` is to look at.

    Without `data.root` among the values they are the run's own, as they were split there. With it they are those of
    another data set, unless what is found there are the run's own, which have been moved.

    Raises:
        RequestError: the run's images have changed, or the others do not go with its classes.
    """
    root = values.get("data.root")
    _refuse_idle(values, [*_LOADING, *(_READING if root is not None else ())])
    config = run_config(folder, {key: value for key, value in values.items() if key != "data.root"}, allow)
    if root is None:
        return Images(own_images(folder, config), config)
    moved = msgspec.structs.replace(config, data=msgspec.structs.replace(config.data, root=str(root)))
    other = msgspec.structs.replace(config, data=_as_it_is(config.data, str(root), folder))
    listed = _listed(other)
    if not isinstance(config.data, PhantomConfig) and listed.images_fingerprint() == _recorded(folder):
        return Images(own_images(folder, moved), moved)
    return Images(_with_a_split(listed), other, _name(str(root), listed))


def asked_images(folder: RunFolder, split: Split, values: Mapping[str, Any], allow: Allowed | None = None) -> Images:
    """The same, once it is sure that they have this split, and that the run was not made of them.

    Raises:
        RequestError: see `images_of`; or there is no such split, or the run was trained on these images.
    """
    images = images_of(folder, values, allow)
    refuse_missing_split(images.manifest, split, images.config.data.root or folder.shown)
    if images.name is not None:
        refuse_seen(images, split, folder)
    return images


def _refuse_idle(values: Mapping[str, Any], can_act: Sequence[str]) -> None:
    """Raises RequestError for data keys that would change nothing, or what the model was trained for."""
    for key in values:
        name = key.removeprefix("data.")
        if key.startswith("data.") and name not in can_act:
            cure = " without data.root" if name in _READING else ", which was trained with its own"
            raise RequestError(
                f"{key} cannot be given for a trained model{cure}\n"
                f"  of data: {', '.join(can_act)}; with data.root also {', '.join(_READING)}"
            )


def own_images(folder: RunFolder, config: TrainConfig) -> Manifest:
    """The run's images, split as they were.

    Raises:
        RequestError: they have changed since; the message says how.
    """
    manifest = load_manifest(config.data, Path(config.paths.cache).expanduser())
    if folder.info().get("data_fingerprint") not in {None, manifest.fingerprint()}:
        raise RequestError(
            f"the images have changed since {folder.shown} was trained: {changes(folder.manifest_file, manifest)}\n"
            "  data.root=PATH evaluates on the images of another place"
        )
    return manifest


def refuse_missing_split(manifest: Manifest, split: Split, where: str) -> None:
    """Raises RequestError where there are no images of a split."""
    if not manifest.of(split):
        found = ", ".join(manifest.counts())
        raise RequestError(f"{where} has no {split} split; it has {found}\n  split={found.partition(', ')[0]}")


def refuse_seen(images: Images, split: Split, folder: RunFolder) -> None:
    """Raises RequestError where a run was trained on some of these images, or chosen by them: a score on them is none.

    The run's own test images are no mistake, and named.
    """
    records = images.manifest.of(split)
    seen = seen_in(read_manifest_csv(folder.manifest_file), images.manifest, records)
    cure = "leave them out, or without data.root= look at the splits of the run itself"
    if train := seen["train"]:
        raise RequestError(
            f"{folder.shown} was trained on {told(train, len(records))}: a score on these is none\n  {cure}"
        )
    if val := seen["val"]:
        raise RequestError(
            f"{told(val, len(records))} are validation images of {folder.shown}, by which its epoch, thresholds and "
            f"temperature were chosen: a score on these is too good\n  {cure}"
        )
    if test := seen["test"]:
        log.warning("%s are test images of %s itself", told(test, len(records)), folder.shown)


def _recorded(folder: RunFolder) -> str | None:
    found: str | None = folder.info().get("images_fingerprint")
    return found


def _as_it_is(data: DataConfig, root: str, folder: RunFolder) -> DataConfig:
    """The data configuration for images at this root: read as the run's were, with its classes, and not split."""
    info = folder.info()
    kind = _KINDS.get(Path(root).suffix.lower(), ImageFolderConfig)
    shared = {name: getattr(data, name) for name in DataConfig.__struct_fields__ if name not in _OF_THE_SPLIT}
    return kind(
        **shared | {"root": root, "classes": tuple(info["classes"]), "positive_class": info.get("positive_class")}
    )


def _listed(config: TrainConfig) -> Manifest:
    """The images with their classes; one that has none of some class is evaluated on the others."""
    return load_unsplit(config.data, Path(config.paths.cache).expanduser(), tolerated=["missing_class"])


def _with_a_split(manifest: Manifest) -> Manifest:
    """Images that come without any split are all test images."""
    if any(record.split for record in manifest.records):
        return manifest
    return replace(manifest, records=tuple(replace(record, split="test") for record in manifest.records))


def _name(root: str, manifest: Manifest) -> str:
    """Of the place and of what is there: other images at the same place must not take the results of these."""
    path = Path(root).expanduser().absolute()
    mark = hashlib.sha256(f"{path}\n{manifest.images_fingerprint()}".encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', path.stem).strip('-.') or 'data'}-{mark}"
