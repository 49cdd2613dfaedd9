"""From the data config to a finished manifest: the one way in."""

import logging
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from medimg.config.data import (
    CovidPhantomConfig,
    CTPhantomConfig,
    DataConfig,
    ManifestConfig,
    MedMNISTConfig,
    PhantomConfig,
)
from medimg.data.classes import resolve_classes
from medimg.data.frames import expand_files
from medimg.data.groups import with_groups
from medimg.data.manifest import Manifest
from medimg.data.problems import gathered
from medimg.data.readable import without_unreadable
from medimg.data.sources import read_manifest_source, scan_folder
from medimg.data.splits import assign_splits, with_patients
from medimg.data.units import unit_of
from medimg.errors import RequestError

log = logging.getLogger(__name__)

_FEW = 5  # patients, groups or images of a class in validation below which it is said


def load_manifest(config: DataConfig, cache: Path) -> Manifest:
    """The data set that the config asks for, with classes, patients and splits.

    Images that `on_error=skip` leaves out are left out before patients, groups and splits are looked at, so that they
    have no influence on these. Phantoms are drawn below `cache` where they are not there yet. Raises RequestError for
    whatever is wrong with the source.
    """
    manifest = grouped(load_unsplit(config, cache), config, cache)
    manifest = assign_splits(
        manifest,
        val_fraction=config.val_fraction,
        split_seed=config.split_seed,
        folds=config.folds,
        fold=config.fold,
        allow_patient_overlap=config.allow_patient_overlap,
    )
    _log_summary(manifest)
    return manifest


def grouped(manifest: Manifest, config: DataConfig, cache: Path) -> Manifest:
    """The manifest with the groups that are to stand in for patients, where the config asks for some."""
    if config.group_by is None or not manifest.records:
        return manifest
    size, threshold = config.block_size, config.group_threshold
    return with_groups(manifest, config.group_by, block_size=size, threshold=threshold, cache=cache)


def load_unsplit(config: DataConfig, cache: Path, tolerated: Collection[str] = ()) -> Manifest:
    """The same with the source's own splits only, none cut.

    Args:
        config: what and where.
        cache: where caches go.
        tolerated: kinds of problems that do not matter here.
    """
    skip = config.on_error == "skip"
    with gathered() as problems:
        manifest = _named(config, cache)
    for problem in problems:
        if problem.kind not in tolerated and not (skip and problem.kind == "unreadable"):
            problem.tell()
    if skip:
        skipped = {path: p.message for p in problems if p.kind == "unreadable" for path in p.files}
        manifest = without_unreadable(replace(manifest, skipped=skipped), cache)
    return _with_patients(manifest, config)


def list_images(config: DataConfig, cache: Path) -> Manifest:
    """The same with unreadable images.

    Within `problems.gathered` it goes on past bad data.
    """
    return _with_patients(_named(config, cache), config)


def _named(config: DataConfig, cache: Path) -> Manifest:
    """The images with their classes, as far as they can be told without decoding."""
    manifest = replace(_source(config, cache), window=config.window)
    manifest = expand_files(manifest, config.multiframe)
    return resolve_classes(manifest, config.classes, config.class_aliases, config.positive_class)


def _with_patients(manifest: Manifest, config: DataConfig) -> Manifest:
    return manifest if config.patient_regex is None else with_patients(manifest, config.patient_regex)


def _source(config: DataConfig, cache: Path) -> Manifest:
    if isinstance(config, PhantomConfig):
        if config.root is not None:
            log.warning("data.root=%s is not read: data=%s draws its images.", config.root, config.name)
        return replace(scan_folder(_drawn(config, cache)), synthetic=True)
    if isinstance(config, MedMNISTConfig) and config.root and not config.root.lower().endswith(".csv"):
        from medimg.data.medmnist import read_medmnist

        return read_medmnist(Path(config.root), config.classes)
    is_csv = isinstance(config, ManifestConfig)
    if not config.root:
        what = "the CSV with the columns path and label" if is_csv else "the folder that holds the class folders"
        what = "the .npz archive" if isinstance(config, MedMNISTConfig) else what
        raise RequestError(
            f"data.root is needed: {what}, as data.root=PATH. To try things out, data=ct_phantom needs none."
        )
    root = Path(config.root).expanduser()
    # a run's manifest can be given back to the very data group that made it, with its classes
    return (read_manifest_source if is_csv or root.suffix.lower() == ".csv" else scan_folder)(root)


def _drawn(config: PhantomConfig, cache: Path) -> Path:
    from medimg.data.phantoms import draw_covid_phantoms, draw_ct_phantoms

    if isinstance(config, CTPhantomConfig):
        return draw_ct_phantoms(config, cache)
    if isinstance(config, CovidPhantomConfig):
        return draw_covid_phantoms(config, cache)
    raise TypeError(f"no phantoms for {type(config).__name__}")


def _log_summary(manifest: Manifest) -> None:
    parts = []
    for split, by_class in manifest.counts().items():
        each = ", ".join(f"{label} {count}" for label, count in by_class.items())
        parts.append(f"{split} {sum(by_class.values())} ({each})")
    positive = f"; positive class {manifest.positive_class}" if manifest.positive_class else ""
    log.info("%d images, split by %s: %s%s", len(manifest.records), manifest.split_unit, "; ".join(parts), positive)
    _warn_of_small_validation(manifest)
    if manifest.split_unit == "image" and any(kind == "image" for kind, _ in map(unit_of, manifest.records)):
        log.warning(
            "The split is by image: neighbouring images of one patient may stand on both sides, "
            "and scores be too good. Where patients are known, give a patient_id column or data.patient_regex; "
            "where not, data.group_by can stand in for them."
        )


def _warn_of_small_validation(manifest: Manifest) -> None:
    """One line where a class has hardly anything in validation, by which the epoch is chosen."""
    units: dict[str, set[tuple[str, str]]] = {}
    for record in manifest.of("val"):
        units.setdefault(record.label, set()).add(unit_of(record))
    few = [f"{_counted(found)} of {label}" for label, found in sorted(units.items()) if len(found) < _FEW]
    if few:
        log.warning("Validation has %s: the best epoch is chosen on very little.", ", ".join(few))


def _counted(units: Collection[tuple[str, str]]) -> str:
    kinds = {kind for kind, _ in units}
    kind = kinds.pop() if len(kinds) == 1 else "unit"
    return f"{len(units)} {kind}{'' if len(units) == 1 else 's'}"
