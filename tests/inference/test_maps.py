"""Pictures have names of their own, and an ensemble's map is the mean of its members'."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import TINY
from scipy.ndimage import zoom

from medimg.config import TrainConfig
from medimg.config.compose import load
from medimg.inference.maps import MapWriter, mean_maps
from medimg.inference.predictor import Predictor, load_predictor
from medimg.models.explain import class_maps
from medimg.runs import RunFolder
from medimg.training.job import run_job

Run = tuple[RunFolder, TrainConfig]


def images(size: int) -> torch.Tensor:
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(size))


@pytest.fixture
def both(tiny_run: Run, tmp_path: Path, session_cache: Path) -> Predictor:
    """The tiny run, and one that takes images half as large."""
    data = ["data=covid_phantom", "data.size=32", "data.patients_per_class=10", "data.image_size=32"]
    overrides = [*TINY, *data, f"paths.cache={session_cache}", "model.widths=[4,8]", "trainer.max_epochs=1"]
    run_job(load(overrides), RunFolder(tmp_path / "small"), in_sweep=False)
    first, second = load_predictor(tiny_run[0].path), load_predictor(tmp_path / "small")
    return replace(first, members=first.members + second.members)


def test_the_mean_in_the_size_of_the_first(both: Predictor) -> None:
    given, targets = [images(64), images(32)], torch.tensor([0, 1, 0])
    found = mean_maps(both, given, targets)
    large, small = (
        class_maps(member.classifier, image, targets) for member, image in zip(both.members, given, strict=True)
    )
    assert found.shape == (3, 64, 64)
    doubled = zoom(small.numpy(), (1, 2, 2), order=1, mode="nearest", grid_mode=True)
    assert large.max() > 0 and small.max() > 0
    torch.testing.assert_close(found, (large + torch.from_numpy(doubled)) / 2)


def test_names_are_safe_and_unique(tiny_run: Run, tmp_path: Path) -> None:
    predictor = load_predictor(tiny_run[0].path)
    paths = ["../a b/ü.png", "/a-b/#.png", f"{'x' * 400}.nii.gz#003"]
    writer = MapWriter(tmp_path / "my table.csv", total=1000)
    names = writer.write(predictor, [images(64)], torch.tensor([0, 0, 1]), [7, 8, 999], paths)
    assert names[:2] == ["my table_maps/007_a-b.png", "my table_maps/008_a-b.png"]
    assert names[2].startswith("my table_maps/999_xxx") and names[2].endswith(".nii.gz-003.png")
    assert sorted(f"my table_maps/{path.name}" for path in (tmp_path / "my table_maps").iterdir()) == sorted(names)
