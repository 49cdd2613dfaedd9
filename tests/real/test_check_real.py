"""`medimg check` on real X-rays: as they are, and on a copy with planted faults."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medimg.cli import main

pytestmark = pytest.mark.real


def check(root: Path, runs: Path) -> tuple[int, dict[str, Any]]:
    code = main(["check", "data=covid", f"data.root={root}", f"paths.runs={runs}"])
    (file,) = (runs / "checks").glob("*/check.json")
    assert file.with_suffix(".html").is_file()
    return code, json.loads(file.read_text())


def sets(report: dict[str, Any], kind: str) -> list[set[str]]:
    return [set(found["files"]) for found in report["findings"] if found["kind"] == kind]


def test_as_they_are(real_data: Path, tmp_path: Path) -> None:
    code, report = check(real_data / "covid_xray", tmp_path)
    assert code == 0
    assert report["counts"] == {"train": {"normal": 110, "covid": 149}, "test": {"normal": 40, "covid": 46}}
    assert sets(report, "patient_leak") == []
    assert len(sets(report, "near_duplicate")) <= 5
    auc = {one["what"].split(" (")[0]: one for one in report["comparisons"] if one["measure"] == "AUC"}
    assert auc.keys() == {"the border of the images", "properties of the files"}
    for one in auc.values():  # the class is the hospital
        assert one["suspicious"]
        assert one["value"] > 0.95


def plant(source: Path, root: Path) -> dict[str, Any]:
    """A copy with ten exact copies, five near ones, a moved patient, two cut files and a misnamed one."""
    shutil.copytree(source, root)
    rows = list(csv.DictReader((root / "metadata.csv").open()))
    alone = [row for row in rows if row["split"] == "train" and count(rows, row) == 1]
    several = [row for row in rows if row["split"] == "train" and count(rows, row) > 1]
    exact, near = [], []
    for row in alone[:10]:
        exact.append(added(root, rows, row, "exact"))
        shutil.copy(root / row["path"], root / rows[-1]["path"])
    changes = ["resized", "jpeg", "brighter", "resized", "jpeg"]
    for row, change in zip(alone[10:15], changes, strict=True):
        near.append(added(root, rows, row, change, ".jpg" if change == "jpeg" else ".png"))
        altered(root / row["path"], root / rows[-1]["path"], change)
    moved = several[0]
    patient = {row["path"] for row in rows if row["patient_id"] == moved["patient_id"]} - {moved["path"]}
    target = moved["path"].replace("train/", "test/")
    shutil.move(root / moved["path"], root / target)
    moved |= {"path": target, "split": "test"}
    cut = [row["path"] for row in alone[15:17]]
    for path in cut:
        (root / path).write_bytes((root / path).read_bytes()[:5000])
    misnamed = alone[17]["path"]
    Image.open(root / misnamed).save(root / "x.jpg", quality=95)
    shutil.move(root / "x.jpg", root / misnamed)
    with (root / "metadata.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return {"exact": exact, "near": near, "patient": patient | {target}, "cut": cut, "misnamed": misnamed}


def count(rows: list[dict[str, str]], row: dict[str, str]) -> int:
    return sum(other["patient_id"] == row["patient_id"] for other in rows)


def added(root: Path, rows: list[dict[str, str]], row: dict[str, str], what: str, suffix: str = ".png") -> set[str]:
    """A row more, in the other split; a patient of its own, so that a copy is told as a copy."""
    path = f"test/{row['label']}/{what}_{len(rows)}{suffix}"
    rows.append(row | {"path": path, "split": "test", "patient_id": f"new{len(rows)}"})
    return {row["path"], path}


def altered(file: Path, target: Path, change: str) -> None:
    image = Image.open(file)
    if change == "resized":
        image.resize((image.width * 2 // 3, image.height * 2 // 3), Image.Resampling.LANCZOS).save(target)
    elif change == "jpeg":
        image.save(target, quality=60)
    else:
        brighter = np.clip(np.asarray(image).astype(float) * 1.2 + 10, 0, 255)
        Image.fromarray(brighter.astype(np.uint8)).save(target)


def test_planted_faults(real_data: Path, tmp_path: Path) -> None:
    planted = plant(real_data / "covid_xray", tmp_path / "copy")
    code, report = check(tmp_path / "copy", tmp_path / "runs")
    assert code == 1
    duplicates, near = sets(report, "duplicate"), sets(report, "near_duplicate")
    assert sorted(map(sorted, duplicates)) == sorted(map(sorted, planted["exact"]))
    found = [pair for pair in planted["near"] if pair in near]
    false = [files for files in near if files not in planted["near"]]
    print(f"{len(duplicates)} of 10 exact copies, {len(found)} of 5 near ones, {len(false)} false alarms")
    assert len(found) == 5
    assert len(false) <= 5
    assert sets(report, "patient_leak") == [planted["patient"]]
    assert not any(planted["patient"] & files for files in duplicates + near)
    assert sorted(map(sorted, sets(report, "unreadable"))) == sorted([path] for path in planted["cut"])
    assert sets(report, "wrong_format") == [{planted["misnamed"]}]
