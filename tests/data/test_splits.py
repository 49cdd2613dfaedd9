import logging
import random
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from medimg.data.manifest import Manifest, Record, Split
from medimg.data.splits import assign_splits, with_patients
from medimg.errors import RequestError


def manifest_of(records: list[Record], root: str = "data") -> Manifest:
    return Manifest(Path(root), tuple(records), classes=tuple(sorted({record.label for record in records})))


def images(sizes: dict[str, int], split: Split | None = None) -> list[Record]:
    return [Record(f"{split}/{label}/{i:03}.png", label, split) for label, n in sizes.items() for i in range(n)]


def patients(sizes: dict[str, int], most: int = 5, seed: int = 0, split: Split | None = None) -> list[Record]:
    """Patients of one class each with 1 to `most` images."""
    draw = random.Random(seed)
    return [
        Record(f"{split}/{label}/{patient}_{i}.png", label, split, f"{split}-{label}-{patient}")
        for label, n in sizes.items()
        for patient in range(n)
        for i in range(draw.randint(1, most))
    ]


def split_of(manifest: Manifest) -> dict[str, str | None]:
    return {record.path: record.split for record in manifest.records}


def sides(manifest: Manifest) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = defaultdict(set)
    for record in manifest.records:
        if record.patient_id:
            found[record.patient_id].add(record.split)
    return found


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.25, 0.5])
def test_images_are_cut_stratified(fraction: float) -> None:
    sizes = {"a": 101, "b": 40, "c": 17}
    result = assign_splits(manifest_of(images(sizes)), val_fraction=fraction, split_seed=0)
    assert result.split_unit == "image"
    assert set(result.counts()) == {"train", "val"}
    for label, size in sizes.items():
        assert abs(result.counts()["val"][label] - fraction * size) <= 1
    assert sum(result.counts()["val"].values()) == round(fraction * 158)


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.3, 0.4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_patients_stay_whole_and_stratified(fraction: float, seed: int) -> None:
    sizes = {"a": 80, "b": 40, "c": 20}
    records = patients(sizes, seed=seed)
    result = assign_splits(manifest_of(records), val_fraction=fraction, split_seed=seed)
    assert result.split_unit == "patient"
    assert all(len(found) == 1 for found in sides(result).values())
    total = Counter(record.label for record in records)
    for label in sizes:
        # no further from the share than the images of one patient
        assert abs(result.counts()["val"][label] - fraction * total[label]) <= 5


def test_patients_of_several_classes_stay_whole() -> None:
    draw = random.Random(3)
    records = [
        Record(f"{label}/{i}.png", label, patient_id=f"p{draw.randrange(30)}") for label in "abc" for i in range(60)
    ]
    result = assign_splits(manifest_of(records), val_fraction=0.2, split_seed=0)
    assert all(len(found) == 1 for found in sides(result).values())
    for count in result.counts()["val"].values():
        assert 6 <= count <= 18


@pytest.mark.parametrize("make", [images, patients])
@pytest.mark.parametrize("folds", [{}, {"folds": 4, "fold": 2}])
def test_same_split_whatever_the_order_and_the_root(make, folds: dict[str, int]) -> None:  # type: ignore[no-untyped-def]
    records = make({"a": 31, "b": 19})
    reference = split_of(assign_splits(manifest_of(records), val_fraction=0.2, split_seed=7, **folds))
    for seed in range(3):
        shuffled = random.Random(seed).sample(records, len(records))
        again = assign_splits(manifest_of(shuffled, root=f"/other/{seed}"), val_fraction=0.2, split_seed=7, **folds)
        assert split_of(again) == reference


@pytest.mark.parametrize("make", [images, patients])
def test_other_seeds_give_other_splits(make) -> None:  # type: ignore[no-untyped-def]
    manifest = manifest_of(make({"a": 31, "b": 19}))
    found = [split_of(assign_splits(manifest, val_fraction=0.2, split_seed=seed)) for seed in range(4)]
    assert all(one != other for i, one in enumerate(found) for other in found[:i])


def test_a_split_is_what_it_was() -> None:
    # Other results here mean other splits for everybody's data.
    result = assign_splits(manifest_of(images({"a": 10, "b": 5})), val_fraction=0.2, split_seed=0)
    assert [record.path for record in result.of("val")] == ["None/a/000.png", "None/a/005.png", "None/b/004.png"]
    pairs = [Record(f"{label}/{i}.png", label, patient_id=f"{label}{i // 2}") for label in "ab" for i in range(10)]
    result = assign_splits(manifest_of(pairs), val_fraction=0.2, split_seed=0)
    assert [record.path for record in result.of("val")] == ["a/2.png", "a/3.png", "b/4.png", "b/5.png"]


def test_the_sources_test_split_is_kept_and_none_is_invented() -> None:
    source = images({"a": 20, "b": 20}, "train") + images({"a": 6, "b": 5}, "test")
    result = assign_splits(manifest_of(source), val_fraction=0.25, split_seed=0)
    assert {r.path for r in result.of("test")} == {r.path for r in source if r.split == "test"}
    assert result.counts()["val"] == {"a": 5, "b": 5}


def test_the_sources_validation_split_is_kept() -> None:
    source = manifest_of(images({"a": 20, "b": 20}, "train") + images({"a": 3, "b": 2}, "val"))
    result = assign_splits(source, val_fraction=0.25, split_seed=0)
    assert split_of(result) == split_of(source)


def test_no_validation_on_request() -> None:
    result = assign_splits(manifest_of(images({"a": 20, "b": 20})), val_fraction=0, split_seed=0)
    assert set(result.counts()) == {"train"}


@pytest.mark.parametrize("make", [images, patients])
def test_folds_partition_the_pool(make) -> None:  # type: ignore[no-untyped-def]
    pool = make({"a": 33, "b": 21}, split="train") + make({"a": 8, "b": 9}, split="val")
    manifest = manifest_of(pool + make({"a": 9, "b": 9}, split="test"))
    tests: list[str] = []
    for fold in range(5):
        result = assign_splits(manifest, val_fraction=0.2, split_seed=1, folds=5, fold=fold)
        assert {record.path for record in result.records} == {record.path for record in pool}
        assert all(len(found) == 1 for found in sides(result).values())
        assert set(result.counts()) == {"train", "val", "test"}
        rest = len(pool) - len(result.of("test"))
        assert abs(len(result.of("val")) - 0.2 * rest) <= 6
        tests += [record.path for record in result.of("test")]
    assert sorted(tests) == sorted(record.path for record in pool)


def test_fold_drops_the_sources_test_split_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    manifest = manifest_of(images({"a": 9, "b": 9}, "train") + images({"a": 2, "b": 2}, "test"))
    with caplog.at_level(logging.INFO):
        assign_splits(manifest, val_fraction=0, split_seed=0, folds=3, fold=0)
    assert "4 images, is left out" in caplog.text


@pytest.mark.parametrize(
    ("folds", "fold", "message"),
    [(5, None, "belong together"), (None, 1, "belong together"), (5, 5, "0 to 4"), (11, 0, "largest class has 10")],
)
def test_bad_folds(folds: int | None, fold: int | None, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        assign_splits(manifest_of(images({"a": 10, "b": 9})), val_fraction=0.2, split_seed=0, folds=folds, fold=fold)


def test_folds_need_two_patients_a_class() -> None:
    records = [*patients({"a": 9}), *(Record(f"b/{i}.png", "b", patient_id="one") for i in range(9))]
    with pytest.raises(RequestError, match="class 'b' has 1 of the patients"):
        assign_splits(manifest_of(records), val_fraction=0.2, split_seed=0, folds=3, fold=0)


def test_records_with_and_without_split() -> None:
    records = images({"a": 4, "b": 4}, "train") + images({"a": 2})
    with pytest.raises(RequestError, match=r"2 of 10 images have no split.*'None/a/000.png'"):
        assign_splits(manifest_of(records), val_fraction=0.2, split_seed=0)


def test_no_training_images() -> None:
    with pytest.raises(RequestError, match=r"no training images \(8 in test\)"):
        assign_splits(manifest_of(images({"a": 4, "b": 4}, "test")), val_fraction=0.2, split_seed=0)


def test_class_without_training_image() -> None:
    records = images({"a": 9}, "train") + images({"a": 3, "b": 3}, "val")
    with pytest.raises(RequestError, match="Class 'b' has no training image"):
        assign_splits(manifest_of(records), val_fraction=0.2, split_seed=0)


def test_class_missing_from_test_is_named(caplog: pytest.LogCaptureFixture) -> None:
    assign_splits(
        manifest_of(images({"a": 9, "b": 9}, "train") + images({"a": 3}, "test")), val_fraction=0.2, split_seed=0
    )
    assert "test split has no image of class 'b'" in caplog.text


def test_lone_patient_stays_in_train(caplog: pytest.LogCaptureFixture) -> None:
    records = [*patients({"a": 10, "c": 10}), *(Record(f"b/{i}.png", "b", patient_id="one") for i in range(9))]
    for seed in range(5):
        result = assign_splits(manifest_of(records), val_fraction=0.2, split_seed=seed)
        assert result.counts()["train"]["b"] == 9
    assert "all there is of class 'b'" in caplog.text
    assert "val split has no image of class 'b'" in caplog.text


def test_few_patients_cap_the_share(caplog: pytest.LogCaptureFixture) -> None:
    result = assign_splits(manifest_of(patients({"a": 30, "b": 3})), val_fraction=0.1, split_seed=0)
    assert "1/3 of the patients, not 0.1" in caplog.text
    assert len({record.patient_id for record in result.of("val") if record.label == "b"}) == 1


def test_few_images_get_one_of_each_class(caplog: pytest.LogCaptureFixture) -> None:
    result = assign_splits(manifest_of(images({"a": 3, "b": 3, "c": 3})), val_fraction=0.1, split_seed=0)
    assert result.counts()["val"] == {"a": 1, "b": 1, "c": 1}
    assert "3 images of 9" in caplog.text


def test_nothing_to_cut_from() -> None:
    with pytest.raises(RequestError, match=r"one of the images each.*data.val_fraction=0"):
        assign_splits(manifest_of(images({"a": 1, "b": 1})), val_fraction=0.2, split_seed=0)
    one_each = [Record(f"{label}/{i}.png", label, patient_id=label) for label in "ab" for i in range(4)]
    with pytest.raises(RequestError, match="one of the patients each"):
        assign_splits(manifest_of(one_each), val_fraction=0.2, split_seed=0)


def test_unknown_patients_count_as_their_own(caplog: pytest.LogCaptureFixture) -> None:
    records = [
        record if i % 2 else replace(record, patient_id=None) for i, record in enumerate(patients({"a": 30, "b": 20}))
    ]
    result = assign_splits(manifest_of(records), val_fraction=0.2, split_seed=0)
    assert result.split_unit == "image"
    assert all(len(found) == 1 for found in sides(result).values())
    assert "have no patient_id" in caplog.text
    assert any(record.patient_id is None for record in result.of("val"))


def overlapping() -> Manifest:
    """Five patients of the train folder have an image in test as well."""
    moved = [Record(f"test/x{i}.png", "a", "test", f"train-a-{i}") for i in range(5)]
    return manifest_of([*patients({"a": 9, "b": 9}, split="train"), *moved])


def test_a_patient_on_both_sides_of_the_source_is_refused() -> None:
    with pytest.raises(RequestError, match="5 patients stand in more than one") as caught:
        assign_splits(overlapping(), val_fraction=0, split_seed=0)
    told = str(caught.value)
    assert "'train-a-0'" in told
    assert "'train/a/0_0.png' in train, 'test/x0.png' in test" in told
    assert "and 2 more" in told
    assert "data.allow_patient_overlap=true" in told


def test_a_patient_on_both_sides_can_be_allowed_by_name(caplog: pytest.LogCaptureFixture) -> None:
    result = assign_splits(overlapping(), val_fraction=0, split_seed=0, allow_patient_overlap=True)
    assert result.split_unit == "image"
    assert "'train-a-0'" in caplog.text


def test_folds_put_a_patient_of_train_and_val_together() -> None:
    records = [*patients({"a": 9, "b": 9}, split="train"), Record("val/x.png", "a", "val", "train-a-0")]
    with pytest.raises(RequestError, match=r"(?s)1 patient stands.*in train, 'val/x.png' in val"):
        assign_splits(manifest_of(records), val_fraction=0, split_seed=0)
    assert assign_splits(manifest_of(records), val_fraction=0, split_seed=0, folds=3, fold=0).split_unit == "patient"


def grouped(sizes: dict[str, int], split: Split | None = None) -> list[Record]:
    return [replace(record, patient_id=None, group=record.patient_id) for record in patients(sizes, split=split)]


@pytest.mark.parametrize("folds", [{}, {"folds": 4, "fold": 2}])
def test_groups_stay_whole(folds: dict[str, int]) -> None:
    result = assign_splits(manifest_of(grouped({"a": 40, "b": 20})), val_fraction=0.2, split_seed=0, **folds)
    assert result.split_unit == "group"
    found: dict[str | None, set[str | None]] = defaultdict(set)
    for record in result.records:
        found[record.group].add(record.split)
    assert all(len(splits) == 1 for splits in found.values())
    assert result.counts()["val"]["a"] > 0


def test_patients_and_groups_together_are_a_split_by_group(caplog: pytest.LogCaptureFixture) -> None:
    both = [*grouped({"a": 20, "b": 20}, "train"), *patients({"a": 9, "b": 9}, split="train")]
    result = assign_splits(manifest_of(both), val_fraction=0.2, split_seed=0)
    assert result.split_unit == "group"
    assert "each group of them counts as a patient of its own, and the split as one by group" in caplog.text


def test_a_group_on_both_sides_of_the_source_is_told(caplog: pytest.LogCaptureFixture) -> None:
    records = [*grouped({"a": 9, "b": 9}, "train"), Record("test/x.png", "a", "test", group="train-a-0")]
    assert assign_splits(manifest_of(records), val_fraction=0.2, split_seed=0).split_unit == "image"
    assert "1 group of similar images stands in more than one" in caplog.text
    assert "'train-a-0'" in caplog.text


def test_seed_out_of_range() -> None:
    with pytest.raises(RequestError, match="split_seed"):
        assign_splits(manifest_of(images({"a": 9, "b": 9})), val_fraction=0.2, split_seed=2**32)


@pytest.mark.parametrize(("regex", "patient"), [(r"([^/]+)_\d+\.png$", "p7"), (r"p\d+", "p7"), (r"(?:x)|(p\d)", "p7")])
def test_patients_from_paths(regex: str, patient: str) -> None:
    manifest = manifest_of([Record("train/a/p7_01.png", "a", patient_id="old")])
    assert with_patients(manifest, regex).records[0].patient_id == patient


@pytest.mark.parametrize(
    ("regex", "message"),
    [("(", "not a regular expression"), ("q", "matches no path: 'a/p7.png'"), ("p(7)", "1 of 2 paths not: 'b/p8.png'")],
)
def test_bad_patient_regex(regex: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        with_patients(manifest_of([Record("a/p7.png", "a"), Record("b/p8.png", "b")]), regex)
