"""What has changed since a run wrote its manifest, in words."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medimg.data.changes import changes
from medimg.data.manifest import Manifest, Record, write_manifest_csv

BEFORE = Record("a.dcm", "sick", "train", "p1", frame=0, group="g")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": "well"}, "1 of another class ('a.dcm')"),
        ({"split": "val"}, "1 of another split, patient or group ('a.dcm')"),
        ({"patient_id": "p2"}, "1 of another split, patient or group ('a.dcm')"),
        ({"group": None}, "1 of another split, patient or group ('a.dcm')"),
        ({"frame": 1}, "1 of another frame of their file ('a.dcm')"),
        ({"path": "b.dcm"}, "1 new ('b.dcm'); 1 gone ('a.dcm')"),
        ({}, "the same names, with other content"),
    ],
)
def test_what_has_changed_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    other = Record("c.dcm", "well", "val", "p3")
    write_manifest_csv(Manifest(tmp_path, (BEFORE, other)), tmp_path / "manifest.csv")
    now = Manifest(tmp_path, (replace(BEFORE, **change), other))
    assert changes(tmp_path / "manifest.csv", now) == said
