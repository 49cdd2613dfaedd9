"""Each choice of conf/sweep makes the jobs that it says, alone and with an experiment, and every job is a valid one."""

from pathlib import Path

import pytest

from medimg.cli import main
from medimg.config import PruningConfig, TorchvisionConfig
from medimg.config.check import check
from medimg.config.compose import compose, conf_dir, hydra_session, jobs, resolve
from medimg.config.names import job_folder
from medimg.config.training import TrainConfig

BACKBONES = ["vgg16", "alexnet", "resnet50", "resnet152", "densenet161", "mobilenet_v3_large"]
CHOICES = sorted(file.stem for file in (conf_dir() / "sweep").glob("*.yaml"))


def planned(*overrides: str) -> list[TrainConfig]:
    with hydra_session():
        listed = jobs(overrides, compose(overrides))
        assert len({job_folder(one) for one in listed}) == len(listed)
        return [check(resolve(compose(one))) for one in listed]


def test_seeds() -> None:
    made = planned("sweep=seeds", "optimizer=sgd")
    assert [config.seed for config in made] == [0, 1, 2, 3, 4]
    assert {config.data.split_seed for config in made} == {0}


@pytest.mark.parametrize(("given", "folds"), [([], 5), (["data.folds=10"], 10), (["data.folds=3"], 3)])
def test_folds_are_as_many_as_asked_for(given: list[str], folds: int) -> None:
    made = planned("sweep=folds", *given)
    assert [(config.data.folds, config.data.fold) for config in made] == [(folds, fold) for fold in range(folds)]


def test_backbones_are_those_of_the_ct_study_and_pretrained() -> None:
    made = [config.model for config in planned("sweep=backbones")]
    assert [model.backbone for model in made if isinstance(model, TorchvisionConfig)] == BACKBONES
    assert {model.weights for model in made if isinstance(model, TorchvisionConfig)} == {"imagenet"}
    experiments = {file.stem.removeprefix("ct_") for file in (conf_dir() / "experiment").glob("ct_*.yaml")}
    assert set(BACKBONES) == experiments - {"outlook"}


def test_learning_rates_by_optimizer() -> None:
    made = planned("sweep=lr_by_optimizer")
    tried = {
        (type(config.optimizer).__name__, config.optimizer.lr) for config in made if hasattr(config.optimizer, "lr")
    }
    assert len(tried) == len(made) == 20


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_goes_with_an_experiment(choice: str) -> None:
    with hydra_session():
        composed = compose([f"sweep={choice}", "experiment=ct_resnet50", "data.root=anywhere", "sweep.on_error=stop"])
    assert composed.hydra.mode.name == "MULTIRUN"
    config = check(resolve(composed))
    assert config.sweep.on_error == "stop"
    assert isinstance(config.model, TorchvisionConfig)
    assert config.name == ("ct_backbones" if choice == "backbones" else "ct_resnet50")
    assert isinstance(config.callbacks.get("pruning"), PruningConfig) is (choice == "search")


def test_a_sweep_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "sweep").mkdir(parents=True)
    text = "# @package _global_\ntrainer: {max_epochs: 2}\n"
    text += "hydra: {mode: MULTIRUN, sweeper: {params: {optimizer.lr: '1,2'}}}\n"
    (tmp_path / "conf" / "sweep" / "mine.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    made = planned("sweep=mine", "sweep.on_error=stop")
    assert [config.optimizer.lr for config in made if hasattr(config.optimizer, "lr")] == [1, 2]
    assert {(config.trainer.max_epochs, config.sweep.on_error) for config in made} == {(2, "stop")}


def test_without_a_choice_the_group_leaves_the_node_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert planned("seed=0")[0].sweep.on_error == "continue"
    assert main(["train", "--cfg", "job", "sweep=seeds", "--package", "sweep"]) == 0
    assert capsys.readouterr().out == "on_error: continue\n"
    assert main(["train", "sweep.on_error=never", "--cfg", "job"]) == 0
    assert main(["train", "sweep.on_error=never"]) == 2
    assert "sweep.on_error=never" in capsys.readouterr().err


def test_how_a_sweep_goes_on_makes_no_other_folder() -> None:
    assert job_folder(["seed=1", "sweep=seeds", "sweep.on_error=stop"]) == job_folder(["seed=1", "sweep=seeds"])
    assert job_folder(["seed=1", "sweep=seeds"]).startswith("seed-1-")
    assert job_folder(["optimizer.lr=3.5362874419435213e-05"]).startswith("lr-3.536e-05-")


def test_an_interval_is_for_a_search(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "-m", "optimizer.lr=interval(0.001,0.1)"]) == 2
    assert "sweep=search" in capsys.readouterr().err
