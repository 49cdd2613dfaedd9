"""Who trains, who validates, who tests: the same for the same data and seed, on any machine and in any file order."""

import logging
import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Literal

from medimg.data.manifest import Manifest, Record, examples
from medimg.data.problems import refuse
from medimg.data.units import split_unit, unit_of, warn_of_unknown_patients
from medimg.errors import RequestError

log = logging.getLogger(__name__)

_FOLDS = 20  # a validation share by patient is k of at most so many folds...
_MOST_FOLDS = 100  # ...or of so many, where it is very small
_MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class _Units:
    """What must not be torn apart: patients, groups that stand in for them, or single images.

    `label` and `unit` have an entry for each record; units are numbered. `name` is what they are called.
    """

    records: Sequence[Record]
    label: list[str]
    unit: list[int]
    name: Literal["patients", "groups", "images"]

    def per_class(self) -> dict[str, set[int]]:
        found: dict[str, set[int]] = defaultdict(set)
        for label, unit in zip(self.label, self.unit, strict=True):
            found[label].add(unit)
        return dict(sorted(found.items()))


def with_patients(manifest: Manifest, patient_regex: str) -> Manifest:
    """The manifest with patients read from the paths: the expression's first group, or all that it matches.

    Raises RequestError where the expression is invalid or does not find a patient in every path.
    """
    try:
        pattern = re.compile(patient_regex)
    except re.error as error:
        raise RequestError(f"data.patient_regex={patient_regex} is not a regular expression: {error}.") from error
    group = 1 if pattern.groups else 0
    matches = [pattern.search(record.path) for record in manifest.records]
    patients = [match.group(group) if match else None for match in matches]
    without = [record.path for record, patient in zip(manifest.records, patients, strict=True) if not patient]
    if without:
        count = "no path" if len(without) == len(patients) else f"{len(without)} of {len(patients)} paths not"
        what = f"data.patient_regex={patient_regex} matches {count}: {examples(without)}."
        cure = "It is searched in each path as shown here, and its first group is the patient."
        refuse("patient_unknown", what, cure, without)
    records = (
        replace(record, patient_id=patient or None) for record, patient in zip(manifest.records, patients, strict=True)
    )
    return replace(manifest, records=tuple(records))


def assign_splits(
    manifest: Manifest,
    *,
    val_fraction: float,
    split_seed: int,
    folds: int | None = None,
    fold: int | None = None,
    allow_patient_overlap: bool = False,
) -> Manifest:
    """The manifest with every record's split set, and `split_unit`.

    A test split of the source is kept, and none is invented. A missing validation split is cut from train, stratified
    by class, by whole patients where patients are known, or by the groups that stand in for them. With folds, the
    source's training and validation images are pooled, fold `fold` is the test split, and the source's own test images
    leave the manifest.
    Raises RequestError where a class would have no training image, and where the source's own split has a patient on
    two sides, unless `allow_patient_overlap`.
    """
    if not 0 <= split_seed <= _MAX_SEED:
        raise RequestError(f"data.split_seed={split_seed} is out of range. Allowed: 0 to {_MAX_SEED}.")
    records = _source_splits(manifest.records)
    warn_of_unknown_patients(records)
    if folds is not None or fold is not None:
        records = _hold_out_fold(records, folds, fold, split_seed)
    if val_fraction > 0 and not any(record.split == "val" for record in records):
        records = _cut_validation(records, val_fraction, split_seed)
    result = replace(manifest, records=tuple(records), split_unit=split_unit(records, allow_patient_overlap))
    check_classes(result)
    return result


def _source_splits(records: tuple[Record, ...]) -> list[Record]:
    """All records with a split: the source's, or train where the source has none at all."""
    bare = [record for record in records if record.split is None]
    if bare and len(bare) < len(records):
        raise RequestError(
            f"{len(bare)} of {len(records)} images have no split, and the others have one: "
            f"{examples(record.path for record in bare)}. Give every image a split, or none of them."
        )
    return [replace(record, split="train") for record in records] if bare else list(records)


def _units(records: Sequence[Record]) -> _Units:
    numbers: dict[tuple[str, str], int] = {}
    unit = [numbers.setdefault(unit_of(record), len(numbers)) for record in records]
    by_patient = any(record.patient_id for record in records)
    by_group = any(record.group for record in records)
    name: Literal["patients", "groups", "images"] = "patients" if by_patient else "groups" if by_group else "images"
    return _Units(records, [record.label for record in records], unit, name)


def _hold_out_fold(records: list[Record], folds: int | None, fold: int | None, seed: int) -> list[Record]:
    """The pool of train and validation with one fold of it as test; the source's own test images are dropped."""
    if folds is None or fold is None:
        raise RequestError(
            "data.folds and data.fold belong together: data.folds=5 data.fold=0 holds out the first of five."
        )
    if not 0 <= fold < folds:
        raise RequestError(f"data.fold={fold} is out of range. With data.folds={folds}, allowed are 0 to {folds - 1}.")
    pool = [record for record in records if record.split != "test"]
    if len(pool) < len(records):
        log.info("data.folds: the source's own test split, %d images, is left out.", len(records) - len(pool))
    units = _units(pool)
    _check_fold_sizes(units, folds)
    held_out = set(_folds(units, folds, seed)[fold])
    return [replace(record, split="test" if i in held_out else "train") for i, record in enumerate(pool)]


def _check_fold_sizes(units: _Units, folds: int) -> None:
    members = {label: len(found) for label, found in units.per_class().items()}
    if not members:
        raise RequestError("data.folds: the source has no images in train or validation to make folds of.")
    single = [label for label, count in members.items() if count < 2]
    if single:
        raise RequestError(
            f"data.folds={folds}: class {single[0]!r} has {members[single[0]]} of the {units.name} only, "
            f"so one fold would have none to train on. Add {units.name}, or leave the class out."
        )
    if max(members.values()) < folds:
        raise RequestError(
            f"data.folds={folds} is too many: the largest class has {max(members.values())} {units.name}. "
            f"Give data.folds={max(members.values())} or less."
        )


def _folds(units: _Units, n_folds: int, seed: int) -> list[list[int]]:
    """Positions of each fold's members; the folds are disjoint and together hold every position."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    grouped = len(set(units.unit)) < len(units.unit)  # without need, groups cost half a minute at 100,000 images
    splitter = (StratifiedGroupKFold if grouped else StratifiedKFold)(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # It warns of classes with fewer members than folds; ours names the classes that a split then lacks.
        warnings.filterwarnings("ignore", category=UserWarning, module="sklearn")
        return [members.tolist() for _, members in splitter.split(units.label, units.label, units.unit)]


def _cut_validation(records: list[Record], fraction: float, seed: int) -> list[Record]:
    """Move a share of the training images to validation."""
    positions = [i for i, record in enumerate(records) if record.split == "train"]
    if not positions:
        return records
    positions = _without_lone_units(records, positions)
    units = _units([records[i] for i in positions])
    cut = _cut_images if units.name == "images" else _cut_whole
    chosen = {positions[i] for i in cut(units, fraction, seed)}
    if not chosen:
        raise RequestError(
            f"No validation split can be cut from so few {units.name}. Add some, give data.val_fraction=0 "
            "to go without validation, or try another data.split_seed."
        )
    return [replace(record, split="val") if i in chosen else record for i, record in enumerate(records)]


def _without_lone_units(records: list[Record], positions: list[int]) -> list[int]:
    """Leave out patients (or images) that are the only ones of a class: they stay in train."""
    units = _units([records[i] for i in positions])
    lone = {label: next(iter(members)) for label, members in units.per_class().items() if len(members) == 1}
    kept = [i for i, unit in zip(positions, units.unit, strict=True) if unit not in lone.values()]
    if not kept:
        raise RequestError(
            f"No validation split can be cut: the classes have one of the {units.name} each ({examples(lone)}). "
            f"Add {units.name}, or go without validation: data.val_fraction=0."
        )
    if lone:
        log.warning("One of the %s is all there is of class %s: it stays in train.", units.name, examples(lone))
    return kept


def _cut_whole(units: _Units, fraction: float, seed: int) -> Iterable[int]:
    """Positions of k of n stratified folds of whole patients or groups, k/n being near the fraction."""
    from numpy.random import RandomState

    fewest = min(len(members) for members in units.per_class().values())
    share = _fold_share(fraction, most_folds=max(2, fewest))
    if abs(share - fraction) > 0.1 * min(fraction, 1 - fraction):
        log.warning(
            "Validation takes %s of the %s, not %g: the smallest class has %d.", share, units.name, fraction, fewest
        )
    folds = _folds(units, share.denominator, seed)
    chosen = RandomState(seed).permutation(share.denominator)[: share.numerator]
    return [position for number in chosen for position in folds[number]]


def _fold_share(fraction: float, most_folds: int) -> Fraction:
    """The fraction as k of n folds, 0 < k < n: the nearest, and of those with the fewest folds."""
    enough = max(_FOLDS, ceil(1 / min(fraction, 1 - fraction)))  # so that one fold is as small as a small fraction
    sizes = range(2, min(enough, most_folds, _MOST_FOLDS) + 1)
    shares = [Fraction(min(max(round(fraction * n), 1), n - 1), n) for n in sizes]
    return min(shares, key=lambda share: (abs(share - fraction), share.denominator))


def _cut_images(units: _Units, fraction: float, seed: int) -> Iterable[int]:
    """Positions of a stratified draw of single images."""
    from sklearn.model_selection import StratifiedShuffleSplit

    total, n_classes = len(units.label), len(set(units.label))
    wanted = round(fraction * total)
    size = min(max(wanted, n_classes), total - n_classes)
    if size != wanted:
        log.warning("Validation takes %d images of %d, so that each class can have one on both sides.", size, total)
    splitter = StratifiedShuffleSplit(1, test_size=size, random_state=seed)
    _, chosen = next(splitter.split(units.label, units.label))
    return [int(position) for position in chosen]


def check_classes(manifest: Manifest) -> None:
    """Raises RequestError where a class has no training image, and warns where another split has none of it."""
    counts = manifest.counts()
    if "train" not in counts:
        found = ", ".join(f"{sum(by_class.values())} in {split}" for split, by_class in counts.items())
        raise RequestError(
            f"There are no training images ({found}). Training needs a train split, or class folders alone."
        )
    for split, by_class in counts.items():
        missing = [label for label, count in by_class.items() if not count]
        if missing and split == "train":
            raise RequestError(
                f"Class {examples(missing)} has no training image. Add some; or, where the split was drawn, "
                "try another data.split_seed, more data.folds or a smaller data.val_fraction."
            )
        if missing:
            log.warning("The %s split has no image of class %s: its averages leave it out.", split, examples(missing))
