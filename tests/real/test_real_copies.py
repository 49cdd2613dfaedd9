"""Copies and groups among real images: what was planted is found, and what is found else is few and looked at."""

import csv
import itertools
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from medimg.config import CovidXrayConfig, ImageFolderConfig
from medimg.data.groups import GroupSizes
from medimg.data.load import load_manifest
from medimg.data.manifest import Manifest
from medimg.data.similarity import clusters, find_copies
from medimg.data.sources import scan_folder
from medimg.errors import RequestError

pytestmark = pytest.mark.real

NEAR: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half.png": lambda film: film.resize((film.width // 2, film.height // 2)),
    "square.png": lambda film: film.resize((224, 224)),
    "quality_60.jpg": lambda film: film,
    "bright.png": lambda film: ImageEnhance.Brightness(film).enhance(1.3),
    "small_dark.jpg": lambda film: ImageEnhance.Brightness(film.resize((300, 280))).enhance(0.7),
}


@pytest.fixture(scope="module")
def planted(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, set[tuple[str, str]], set[tuple[str, str]]]:
    """A copy of the X-rays with ten exact and five near copies (their pairs), two cut files and a mislabelled JPEG."""
    root = tmp_path_factory.mktemp("planted") / "covid_xray"
    shutil.copytree(real_data / "covid_xray", root)
    films = sorted(root.glob("train/*/*.png"))
    drawn = random.Random(0).sample(films, 18)
    exact, near = set(), set()
    for i, film in enumerate(drawn[:10]):
        copy = root / "test" / film.parent.name / f"copy_{i}.{'png' if i % 2 else 'tif'}"
        Image.open(film).save(copy)
        exact.add(pair(root, film, copy))
    for film, (name, change) in zip(drawn[10:15], NEAR.items(), strict=True):
        copy = root / "train" / film.parent.name / name
        change(Image.open(film).convert("L")).save(copy, quality=60)
        near.add(pair(root, film, copy))
    for film in drawn[15:17]:
        film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    Image.open(drawn[17]).convert("L").save(drawn[17], format="JPEG", quality=90)
    return root, exact, near


def pair(root: Path, one: Path, other: Path) -> tuple[str, str]:
    first, second = sorted(path.relative_to(root).as_posix() for path in (one, other))
    return first, second


def test_every_planted_copy_is_found_and_nothing_else(
    planted: tuple[Path, set[tuple[str, str]], set[tuple[str, str]]], tmp_path: Path
) -> None:
    root, exact, near = planted
    manifest = scan_folder(root)
    names = [record.path for record in manifest.records]
    pairs = find_copies(manifest, cache=tmp_path)
    assert {(names[one.first], names[one.second]) for one in pairs if one.exact} == exact
    # at most 5 false alarms are allowed; there is none
    assert {(names[one.first], names[one.second]) for one in pairs if not one.exact} == near


def test_a_patient_moved_across_is_refused_by_name(real_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "covid_xray"
    shutil.copytree(real_data / "covid_xray", root)
    with (root / "metadata.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    moved = next(row for row in rows if row["patient_id"] == "9fc85fab" and row["split"] == "train")
    (root / moved["path"]).rename(root / moved["path"].replace("train", "test"))
    text = (root / "metadata.csv").read_text()
    old = f"{moved['path']},covid,train"
    (root / "metadata.csv").write_text(text.replace(old, old.replace("train", "test")))
    with pytest.raises(RequestError, match="1 patient stands in more than one") as caught:
        load_manifest(CovidXrayConfig(root=str(root)), tmp_path)
    assert "'9fc85fab'" in str(caught.value)
    assert Path(moved["path"]).name in str(caught.value)
    assert load_manifest(CovidXrayConfig(root=str(root), allow_patient_overlap=True), tmp_path).split_unit == "image"


@pytest.fixture(scope="module")
def ct_groups(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    config = ImageFolderConfig(root=str(real_data / "lung_ct"), group_by="near_duplicates", folds=5, fold=0)
    return load_manifest(config, tmp_path_factory.mktemp("cache"))


def test_neighbouring_slices_are_grouped(ct_groups: Manifest) -> None:
    assert ct_groups.split_unit == "group"
    sizes = GroupSizes.of(ct_groups)
    assert sizes is not None
    # 1,097 slices of 110 cases: some cases fall apart, and no group swallows the rest
    assert 110 <= sizes.number <= 200
    assert sizes.largest <= 81
    groups = [record.group for record in ct_groups.records]
    together = sum(one == other for one, other in itertools.pairwise(groups))
    assert together / len(groups) > 0.75
    # a case has one class, so groups of several classes are mistakes, of the grouping or of the labels
    labels: dict[str | None, set[str]] = {}
    for record in ct_groups.records:
        labels.setdefault(record.group, set()).add(record.label)
    assert sum(len(found) > 1 for found in labels.values()) <= 2


def test_no_copies_stand_on_two_sides_of_a_grouped_fold(ct_groups: Manifest, tmp_path: Path) -> None:
    pairs = find_copies(ct_groups, cache=tmp_path)
    assert sum(one.exact for one in pairs) == 42  # the set has them
    sides = [{ct_groups.records[i].split for i in members} for members in clusters(len(ct_groups.records), pairs)]
    assert sum(len(found) > 1 for found in sides) == 0
