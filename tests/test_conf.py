"""Every experiment and every model of conf/ trains for a step, on images as tiny as the model allows."""

from pathlib import Path

import lightning as L
import pytest
from conftest import TINY, draw_folder

from medimg.config import TorchvisionConfig
from medimg.config.compose import conf_dir, load
from medimg.config.training import TrainConfig
from medimg.data.load import load_manifest
from medimg.runs import RunFolder
from medimg.training.experiment import Experiment

SMALLEST = {"alexnet": 63, "quickstart_cnn": 28}


def choices(group: str) -> list[str]:
    return sorted(file.stem for file in (conf_dir() / group).glob("*.yaml"))


def smallest(config: TrainConfig) -> int:
    name = config.model.backbone if isinstance(config.model, TorchvisionConfig) else config.model.name
    return SMALLEST.get(name, 32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each data group that experiments use."""
    home = tmp_path_factory.mktemp("folders")
    ct = {f"{split}/{name}": 4 for split in ("train", "val") for name in load(["data=ct_phantom"]).data.classes or ()}
    covid = {f"{split}/{name}": 4 for split in ("train", "test") for name in ("covid", "normal")}
    return {
        "ct": draw_folder(home / "ct", ct),
        "covid": draw_folder(home / "covid", covid),
        "image_folder": draw_folder(home / "any", {"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2}),
    }


def one_step(overrides: list[str], folders: dict[str, Path], tmp_path: Path) -> tuple[TrainConfig, Experiment]:
    config = load([*TINY, *overrides, "data.root=anywhere"])
    given = [*TINY, *overrides, f"data.root={folders[config.data.name]}"]
    given += [
        f"data.image_size={smallest(config)}",
        "data.batch_size=2",
        f"paths.cache={tmp_path}",
        "data.val_fraction=0.25",
    ]
    if isinstance(config.model, TorchvisionConfig):
        given += ["model.weights=null"]
    config = load(given)
    manifest = load_manifest(config.data, tmp_path)
    experiment = Experiment(config, RunFolder(tmp_path / "run"), manifest, load_weights=True)
    trainer = L.Trainer(
        fast_dev_run=1, accelerator="cpu", logger=False, enable_progress_bar=False, use_distributed_sampler=False
    )
    trainer.fit(experiment.classifier, datamodule=experiment.data)
    assert trainer.global_step == 1
    return config, experiment


@pytest.mark.parametrize("name", choices("experiment"))
def test_experiment_trains_for_a_step(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    config, experiment = one_step([f"experiment={name}"], folders, tmp_path)
    assert config.name == name
    assert experiment.facts()["parameters"]["trained"] > 0


@pytest.mark.parametrize("name", [name for name in choices("model") if name != "torchvision"])
def test_model_trains_for_a_step(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    config, experiment = one_step([f"model={name}", "data=covid"], folders, tmp_path)
    assert config.model.name == name
    assert experiment.trainer.max_epochs == 10


def test_any_torchvision_model(folders: dict[str, Path], tmp_path: Path) -> None:
    config, _ = one_step(["model=torchvision", "model.backbone=mnasnet0_5", "data=covid"], folders, tmp_path)
    assert config.name == "covid_mnasnet0_5"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "ct_vgg16",
            {"model.backbone": "vgg16", "model.freeze": "params", "optimizer.lr": 1e-3, "scheduler.step_size": 7},
        ),
        ("ct_mobilenet_v3_large", {"data.image_size": 512, "trainer.max_epochs": 10, "scheduler.gamma": 0.1}),
        ("covid_cnn", {"model.padding": 2, "data.batch_size": 60, "trainer.max_epochs": 20}),
        ("covid_cnn_baseline", {"model.padding": 1, "data.batch_size": 32, "trainer.max_epochs": 5}),
        (
            "folder_resnet50",
            {"data.image_size": 256, "data.normalize": False, "model.freeze": False, "data.batch_size": 32},
        ),
        (
            "quickstart_cnn",
            {"data.image_size": 28, "model.widths": (32,), "model.in_channels": 1, "data.val_fraction": 0.1},
        ),
    ],
)
def test_experiment_has_the_settings_that_were_reported(name: str, expected: dict[str, object]) -> None:
    config = load([f"experiment={name}", "data.root=anywhere"])
    for key, value in expected.items():
        node: object = config
        for part in key.split("."):
            node = getattr(node, part)
        assert node == value, key
