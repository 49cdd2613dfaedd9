"""Images come in their order, read once for all members, and no bad one stops the rest."""

from pathlib import Path

import numpy as np
import pytest
import torch
from medical_files import make_dicom
from PIL import Image

from medimg.data.preprocessing import Preprocessing
from medimg.data.readers import read_image
from medimg.inference import reading
from medimg.inference.inputs import Input
from medimg.inference.reading import InputDataset, Reading, batches

GREY = Reading(Preprocessing(8, 8, (0.0,), (1.0,), 1))
SMALL = Reading(Preprocessing(4, 6, (0.0,), (1.0,), 1, region="border"))


@pytest.fixture
def items(tmp_path: Path) -> list[Input]:
    """Seven constant images, number 2 broken and 5 known to be bad."""
    listed = []
    for number in range(7):
        file = tmp_path / f"{number}.png"
        Image.new("L", (12, 10), number * 10).save(file)
        listed.append(Input(file.name, str(file), problem="bad\nname" if number == 5 else None))
    (tmp_path / "2.png").write_bytes(b"\x89PNG no picture")
    return listed


@pytest.mark.parametrize("workers", [0, 2])
def test_all_in_order(items: list[Input], workers: int) -> None:
    found = list(batches(items, [GREY, SMALL], batch_size=3, num_workers=workers))
    assert [batch.positions for batch in found] == [(0, 1), (3, 4), (6,)]
    assert [sorted(batch.problems) for batch in found] == [[2], [5], []]
    assert found[1].problems[5] == "bad name"
    reason = found[0].problems[2]
    assert items[2].file not in reason and "cannot be read" in reason and "\n" not in reason
    for batch in found:
        large, small = batch.images
        assert large.shape[1:] == (1, 8, 8) and small.shape[1:] == (1, 4, 6)
        assert torch.equal(large[:, 0, 0, 0], torch.tensor(batch.positions, dtype=torch.uint8) * 10)
        assert (small[:, 0, 2, 3] == 0).all()


def test_from_a_position_on(items: list[Input]) -> None:
    found = list(batches(items, [GREY], start=3, batch_size=3, num_workers=0))
    assert [batch.positions for batch in found] == [(3, 4), (6,)]


def test_a_batch_of_bad_images_alone(items: list[Input]) -> None:
    (found,) = batches([items[2], items[5]], [GREY, SMALL], batch_size=4, num_workers=0)
    assert found.positions == () and sorted(found.problems) == [0, 1]


def test_a_file_is_read_once_for_readings_that_differ_in_size_alone(
    items: list[Input], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(file: Path, *args: object, **kwargs: object) -> torch.Tensor:
        asked.append(file.name)
        return read_image(file, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "read_image", counted)
    assert len(InputDataset(items, [GREY, SMALL])[1].images) == 2
    assert asked == ["1.png"]


def test_each_reading_has_its_window_and_frame(tmp_path: Path) -> None:
    stored = np.stack([np.full((8, 8), value, np.uint16) for value in (1024, 1064)])  # 0 and 40 HU
    file = make_dicom(tmp_path / "x.dcm", stored, NumberOfFrames=2)
    readings = [Reading(GREY.preprocessing, (40.0, 80.0)), Reading(GREY.preprocessing, (0.0, 160.0))]
    first, second = InputDataset([Input("x#0", str(file), 0), Input("x#1", str(file), 1)], readings)
    seen = [[float(Preprocessing.to_unit(image).mean()) for image in one.images] for one in (first, second)]
    assert seen[0] == pytest.approx([0.0, 0.5], abs=1e-5)
    assert seen[1] == pytest.approx([0.5, 0.75], abs=1e-5)
