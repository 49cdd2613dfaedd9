import logging
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medimg.config.data import ImageFolderConfig, ManifestConfig
from medimg.data.groups import GroupSizes, with_groups
from medimg.data.load import load_manifest
from medimg.data.manifest import Manifest, Record, write_manifest_csv
from medimg.errors import RequestError


def blocks(names: list[str], size: int = 10) -> list[list[str]]:
    manifest = Manifest(Path("data"), tuple(Record(name, "a") for name in names))
    found: dict[str, list[str]] = defaultdict(list)
    for record in with_groups(manifest, "blocks", block_size=size, threshold=0).records:
        assert record.group
        found[record.group].append(record.path)
    assert all(name == members[0] for name, members in found.items())
    return sorted(found.values())


def draw_scans(root: Path, scans: int = 12, slices: int = 6) -> Path:
    """Class folders a and b of scans: slices whose blobs grow slowly, numbered along the scans, other blobs in each."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    for scan in range(scans):
        blobs = draw.uniform([8, 8, 3, -80], [56, 56, 8, 80], (25, 4))
        folder = root / "ab"[scan % 2]
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(slices):
            grown = [(cy, cx, r * (1 + 0.03 * i), height) for cy, cx, r, height in blobs]
            field = sum(height * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / r**2) for cy, cx, r, height in grown)
            number = scan // 2 * slices + i + 1
            Image.fromarray(np.clip(128 + field, 0, 255).astype(np.uint8)).save(folder / f"slice_{number}.png")
    return root


def test_blocks_are_consecutive_numbers_of_one_folder() -> None:
    names = [f"a/im_{i}.png" for i in range(1, 26)] + [f"b/im_{i}.png" for i in range(1, 4)]
    assert blocks(names) == [
        sorted(f"a/im_{i}.png" for i in range(1, 11)),
        sorted(f"a/im_{i}.png" for i in range(11, 21)),
        sorted(f"a/im_{i}.png" for i in range(21, 26)),
        sorted(f"b/im_{i}.png" for i in range(1, 4)),
    ]


def test_blocks_go_by_number_not_by_spelling_or_by_gaps() -> None:
    assert blocks(["a/9.png", "a/010.png", "a/11.png", "a/30.png"]) == [
        ["a/010.png", "a/11.png", "a/9.png"],
        ["a/30.png"],
    ]


def test_blocks_take_the_last_number_and_keep_series_apart() -> None:
    names = ["a/P1_2.png", "a/P1_3.png", "a/P2_2.png", "a/P2_3 (1).png", "a/none.png", "a/also none.png"]
    pair, *single = sorted(blocks(names), key=len, reverse=True)
    assert pair == ["a/P1_2.png", "a/P1_3.png"]
    assert single == [["a/P2_2.png"], ["a/P2_3 (1).png"], ["a/also none.png"], ["a/none.png"]]


def test_near_duplicates_are_the_slices_of_a_scan(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = ImageFolderConfig(root=str(draw_scans(tmp_path / "ct")), group_by="near_duplicates")
    manifest = load_manifest(config, tmp_path / "cache")
    assert manifest.split_unit == "group"
    assert GroupSizes.of(manifest) == GroupSizes(number=12, largest=6, images=72)
    for record in manifest.records:
        number = int(record.path.rsplit("_", 1)[1].removesuffix(".png"))
        first = int(str(record.group).rsplit("_", 1)[1].removesuffix(".png"))
        assert (number - 1) // 6 == (first - 1) // 6
        assert str(record.group).startswith(record.label)
    assert "12 groups of 72 images, the largest has 6" in caplog.text
    assert "a lower bound on leakage, not proof of none" in caplog.text
    assert "split is by image" not in caplog.text


def test_a_small_threshold_leaves_each_image_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = ImageFolderConfig(root=str(draw_scans(tmp_path / "ct")), group_by="near_duplicates", group_threshold=0)
    load_manifest(config, tmp_path / "cache")
    assert "as good as one by image" in caplog.text


def test_a_large_threshold_chains_and_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = draw_scans(tmp_path / "ct", scans=4)
    config = ImageFolderConfig(root=str(root), group_by="near_duplicates", group_threshold=1.0, val_fraction=0)
    load_manifest(config, tmp_path / "cache")
    assert "single linkage has chained them together" in caplog.text


def test_a_written_manifest_brings_its_groups_along(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = draw_scans(tmp_path / "ct")
    first = load_manifest(ImageFolderConfig(root=str(root), group_by="blocks", block_size=6), tmp_path)
    written = tmp_path / "run" / "manifest.csv"
    write_manifest_csv(first, written)
    again = load_manifest(ManifestConfig(root=str(written)), tmp_path)
    assert again.split_unit == "group"
    assert [(r.path, r.split, r.group) for r in again.records] == [(r.path, r.split, r.group) for r in first.records]
    assert not any(record.columns for record in again.records)
    assert again.fingerprint() == first.fingerprint()
    with caplog.at_level(logging.INFO):
        kept = load_manifest(ManifestConfig(root=str(written), group_by="near_duplicates"), tmp_path)
    assert "groups already" in caplog.text
    assert kept.records == again.records


def test_known_patients_are_kept_and_the_rest_is_grouped(tmp_path: Path) -> None:
    records = [Record(f"a/{i}.png", "a", patient_id="p" if i < 3 else None) for i in range(6)]
    result = with_groups(Manifest(tmp_path, tuple(records)), "blocks", block_size=100, threshold=0)
    assert [record.group for record in result.records] == [None] * 3 + ["a/3.png"] * 3


def test_groups_where_every_patient_is_known_are_refused(tmp_path: Path) -> None:
    records = tuple(replace(Record(f"a/{i}.png", "a"), patient_id=str(i)) for i in range(3))
    with pytest.raises(RequestError, match=r"group_by=blocks: the patient of each of the 3 images is known"):
        with_groups(Manifest(tmp_path, records), "blocks", block_size=10, threshold=0)
