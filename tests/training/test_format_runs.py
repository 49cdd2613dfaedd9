"""A data set of each format trains for an epoch, from its files to predictions."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY
from medical_files import make_dicom, make_medmnist, make_volume

from medimg.config.compose import load
from medimg.models.classifier import ImageClassifier
from medimg.runs import RunFolder
from medimg.training.job import run_job

RNG = np.random.default_rng(0)


def dicom(root: Path) -> list[str]:
    for label, level in (("sick", 200), ("well", 900)):
        for patient in range(4):
            for slice_ in range(2):
                stored = RNG.integers(level, level + 300, (20, 14)).astype(np.uint16)
                name = f"{patient}{slice_}" + (".dcm" if slice_ else "")
                make_dicom(root / label / name, stored, PatientID=f"{label}{patient}", StudyInstanceUID=f"1.{patient}")
    return [
        "data=image_folder",
        f"data.root={root}",
        "data.window=[lung,bone,mediastinum]",
        "data.resize=fit",
        "data.region=center",
    ]


def nifti(root: Path) -> list[str]:
    for label, level in (("sick", -900), ("well", 0)):
        for number in range(4):
            volume = RNG.integers(level, level + 100, (12, 10, 3)).astype(np.int16)
            make_volume(root / label / f"{number}.nii{'.gz' if number % 2 else ''}", volume)
    return ["data=image_folder", f"data.root={root}", "data.window=[-600,1500]"]


def medmnist(root: Path) -> list[str]:
    file = make_medmnist(root / "toy.npz", {"train": 12, "val": 4, "test": 4}, shape=(12, 12, 3))
    return ["data=medmnist", f"data.root={file}", "data.classes=[well,sick]"]


@pytest.mark.parametrize(
    ("make", "unit", "rows"), [(dicom, "patient", 4), (nifti, "patient", 6), (medmnist, "image", 4)]
)
def test_an_epoch(tmp_path: Path, make: Callable[[Path], list[str]], unit: str, rows: int) -> None:
    (tmp_path / "data").mkdir()
    small = ["data.image_size=8", "data.batch_size=4", "model.widths=[4]", "callbacks.figures=null", "logger=none"]
    config = load([*TINY, *small, *make(tmp_path / "data"), "data.val_fraction=0.25", "trainer.max_epochs=1"])
    folder = RunFolder(tmp_path / "run")
    run_job(config, folder, in_sweep=False)
    with folder.predictions("val").open() as stream:
        predicted = list(csv.DictReader(stream))
    assert len(predicted) == rows
    assert {row["label"] for row in predicted} == {"sick", "well"}
    assert bool(predicted[0]["patient_id"]) == (unit == "patient")
    model = ImageClassifier.load_from_checkpoint(folder.best)
    assert model.preprocessing.resizing == config.data.resize
    assert model.preprocessing.as_dict()["resizing"] == config.data.resize
    assert model.preprocessing.region == config.data.region


def test_checkpoints_from_before_resize_was_a_choice_stretch(tmp_path: Path) -> None:
    config = load(["model.widths=[4]"])
    model = ImageClassifier(config.model, ("a", "b"), image_size=8)
    state = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "pytorch-lightning_version": "2",
    }
    del state["hyper_parameters"]["resize"]
    torch.save(state, tmp_path / "old.ckpt")
    assert ImageClassifier.load_from_checkpoint(tmp_path / "old.ckpt").preprocessing.resizing == "stretch"
