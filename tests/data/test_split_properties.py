"""Properties that every split has, whatever the data: tried on data sets that hypothesis thinks up."""

from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from medimg.data.manifest import Manifest, Record
from medimg.data.splits import assign_splits
from medimg.data.units import unit_of
from medimg.errors import RequestError

SEEDS = st.integers(0, 2**32 - 1)
FRACTIONS = st.floats(0.05, 0.5)
tried = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@st.composite
def records(draw: st.DrawFn, kinds: tuple[str, ...] = ("patient", "group", "image")) -> list[Record]:
    """Two to four classes of 2 to 30 units (patients, groups or images) with 1 to 6 images each."""
    found = []
    mixed = draw(st.booleans())  # a unit can have images of several classes
    kind = draw(st.sampled_from(kinds))
    classes = "abcd"[: draw(st.integers(2, 4))]
    for label in classes:
        sizes = draw(st.lists(st.integers(1, 1 if kind == "image" else 6), min_size=2, max_size=30))
        for number, size in enumerate(sizes):
            name = f"{'x' if mixed else label}{number}"
            patient, group = (name if kind == "patient" else None), (name if kind == "group" else None)
            found += [Record(f"{label}/{number}_{i}.png", label, None, patient, group=group) for i in range(size)]
    return found


def manifest_of(found: list[Record], root: str = "data") -> Manifest:
    return Manifest(Path(root), tuple(found), classes=tuple(sorted({record.label for record in found})))


def split_of(manifest: Manifest) -> dict[str, str | None]:
    return {record.path: record.split for record in manifest.records}


def assigned(manifest: Manifest, **more: float) -> Manifest:
    """The split, where there is one: a refusal for too few patients is no property of a split."""
    try:
        return assign_splits(manifest, **more)  # type: ignore[arg-type]
    except RequestError:
        assume(False)
        raise


def check_whole(result: Manifest, source: list[Record]) -> None:
    """Every image once, in one split, and no patient or group in two."""
    assert sorted(record.path for record in result.records) == sorted(record.path for record in source)
    sides = defaultdict(set)
    for record in result.records:
        sides[unit_of(record)].add(record.split)
    assert all(len(found) == 1 and found <= {"train", "val", "test"} for found in sides.values())
    kinds = {kind for kind, _ in sides}
    assert result.split_unit == ("image" if "image" in kinds else "group" if "group" in kinds else "patient")


@tried
@given(records(), FRACTIONS, SEEDS)
def test_a_split_keeps_every_image_once_and_every_unit_whole(source: list[Record], share: float, seed: int) -> None:
    result = assigned(manifest_of(source), val_fraction=share, split_seed=seed)
    check_whole(result, source)
    assert set(result.counts()) == {"train", "val"}
    assert all(count > 0 for count in result.counts()["train"].values())


@tried
@given(records(), FRACTIONS, SEEDS, st.randoms(use_true_random=False))
def test_the_split_is_the_same_in_any_order_below_any_root(
    source: list[Record], share: float, seed: int, order
) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(source)
    order.shuffle(shuffled)
    first = assigned(manifest_of(source), val_fraction=share, split_seed=seed)
    second = assigned(manifest_of(shuffled, "/other/machine"), val_fraction=share, split_seed=seed)
    assert split_of(first) == split_of(second)
    assert first.records == second.records


@tried
@given(records(), FRACTIONS, SEEDS)
def test_the_names_of_patients_do_not_matter(source: list[Record], share: float, seed: int) -> None:
    renamed = [replace(record, patient_id=record.patient_id and f"{hash(record.patient_id)}") for record in source]
    first = assigned(manifest_of(source), val_fraction=share, split_seed=seed)
    assert split_of(first) == split_of(assigned(manifest_of(renamed), val_fraction=share, split_seed=seed))


@tried
@given(records(("image",)), FRACTIONS, SEEDS)
def test_single_images_are_stratified_to_the_image(source: list[Record], share: float, seed: int) -> None:
    result = assigned(manifest_of(source), val_fraction=share, split_seed=seed)
    sizes, val = Counter(record.label for record in source), Counter(record.label for record in result.of("val"))
    size = len(result.of("val"))
    assert size == min(max(round(share * len(source)), len(sizes)), len(source) - len(sizes))
    for label, total in sizes.items():
        assert abs(val[label] - size / len(source) * total) < 1.0001 or val[label] == 1


@tried
@given(records(("patient", "group")), FRACTIONS, SEEDS)
def test_validation_by_patient_is_within_its_bound(source: list[Record], share: float, seed: int) -> None:
    """With ten units a class or more, validation has its share to within two units of each class."""
    units: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for record in source:
        units[record.label][unit_of(record)] += 1
    assume(min(len(found) for found in units.values()) >= 10)
    result = assigned(manifest_of(source), val_fraction=share, split_seed=seed)
    part = len(result.of("val")) / len(source)
    assert abs(part - share) <= 0.05 + sum(2 * max(found.values()) for found in units.values()) / len(source)
    if any(sum(unit in found for found in units.values()) > 1 for unit in {unit_of(record) for record in source}):
        return  # a patient of several classes drags images of one along with those of another
    val = Counter(record.label for record in result.of("val"))
    for label, found in units.items():
        assert abs(val[label] / found.total() - share) <= 0.05 + 2 * max(found.values()) / found.total()


@tried
@given(records(), st.integers(2, 6), SEEDS)
def test_folds_partition_the_images(source: list[Record], folds: int, seed: int) -> None:
    held_out: list[str] = []
    for fold in range(folds):
        result = assigned(manifest_of(source), val_fraction=0, split_seed=seed, folds=folds, fold=fold)
        check_whole(result, source)
        held_out += [record.path for record in result.of("test")]
    assert sorted(held_out) == sorted(record.path for record in source)


@tried
@given(records(("image",)), st.integers(2, 6), SEEDS)
def test_folds_of_single_images_are_stratified(source: list[Record], folds: int, seed: int) -> None:
    sizes = Counter(record.label for record in source)
    for fold in range(folds):
        result = assigned(manifest_of(source), val_fraction=0, split_seed=seed, folds=folds, fold=fold)
        test = Counter(record.label for record in result.of("test"))
        assert all(abs(test[label] - total / folds) <= 1 for label, total in sizes.items())


@tried
@given(records(("patient",)), SEEDS, st.data())
def test_a_patient_of_the_sources_test_split_in_train_is_always_refused(
    source: list[Record], seed: int, data: st.DataObject
) -> None:
    """A source's own split, by patient, and then one image moved across."""
    sides = {unit_of(record): "test" if i % 3 == 0 else "train" for i, record in enumerate(source)}
    placed = [replace(record, split=sides[unit_of(record)]) for record in source]  # type: ignore[arg-type]
    assigned(manifest_of(placed), val_fraction=0, split_seed=seed)
    shared = [name for name, count in Counter(map(unit_of, placed)).items() if count > 1 and sides[name] == "train"]
    assume(shared)
    torn = data.draw(st.sampled_from(shared))
    at = next(i for i, record in enumerate(placed) if unit_of(record) == torn)
    placed[at] = replace(placed[at], split="test")
    with pytest.raises(RequestError, match=r"1 patient stands in more than one|has no training image"):
        assign_splits(manifest_of(placed), val_fraction=0, split_seed=seed)
