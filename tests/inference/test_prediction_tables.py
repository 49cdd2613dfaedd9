"""A table that is there already is taken where it is whole, and of this checkpoint."""

from pathlib import Path

import numpy as np
import pytest

from medimg.data.manifest import Manifest, Record
from medimg.evaluation.predictions import Predictions
from medimg.files import write_json
from medimg.inference.tables import known_table
from medimg.runs import RunFolder

IMAGES = Manifest(Path("/"), tuple(Record(path, "x", "val") for path in ("1.png", "2.png")), classes=("x", "y"))

DIGEST = "a" * 64


@pytest.fixture
def place(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    write_json(folder.results_file, {"best_epoch": 0, "checkpoint_sha256": DIGEST})
    logits = np.array([[0.5, 0.25], [0.125, 4.0]])
    Predictions(("1.png", "2.png"), (None, None), np.array([0, 1]), logits, ("x", "y")).write_csv(
        folder.predictions("val")
    )
    return folder


def test_a_whole_table_of_the_same_epoch(place: RunFolder) -> None:
    found = known_table(place, 0, DIGEST, IMAGES, "val")
    assert found is not None
    assert found.logits.tolist() == [[0.5, 0.25], [0.125, 4.0]]


def test_no_other_one(place: RunFolder) -> None:
    more = Manifest(Path("/"), (*IMAGES.records, Record("3.png", "x", "val")), classes=("x", "y"))
    assert known_table(place, 1, DIGEST, IMAGES, "val") is None, "of another epoch"
    assert known_table(place, 0, DIGEST, more, "val") is None, "not all of the split"
    assert known_table(place, 0, DIGEST, IMAGES, "test") is None, "never predicted"
    assert known_table(place, 0, "b" * 64, IMAGES, "val") is None, "of another checkpoint of the same epoch"
    place.results_file.unlink()
    assert known_table(place, 0, DIGEST, IMAGES, "val") is None, "of nobody knows what"
