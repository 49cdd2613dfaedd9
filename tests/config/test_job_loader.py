"""The jobs of a sweep are composed once each, and come out as Hydra composes them."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf

from medimg.cli import main
from medimg.config.compose import compose, compose_job, hydra_session
from medimg.config.job_loader import JobLoader
from medimg.training import sweep


def test_a_prepared_job_is_what_hydra_composes_and_is_handed_on_once() -> None:
    with hydra_session() as hydra:
        base = compose(["hydra.job.chdir=false", "name=study"])
        plain = ConfigLoaderImpl(hydra.config_loader.get_search_path())
        prepared = compose_job(hydra, base, ["name=study", "seed=3"])
        expected = plain.load_sweep_config(base, ["name=study", "seed=3"])
        assert OmegaConf.to_container(prepared) == OmegaConf.to_container(expected)
        handed_on = hydra.config_loader.load_sweep_config(base, ["name=study", "seed=3"])
        assert handed_on is prepared
        again = hydra.config_loader.load_sweep_config(base, ["name=study", "seed=3"])
        assert again is not prepared
        assert OmegaConf.to_container(again) == OmegaConf.to_container(expected)
        for job in (["seed=4"], ["optimizer=sgd", "optimizer.momentum=0.5"], ["model=resnet18"], ["seed=4"]):
            found, wanted = (loader.load_sweep_config(base, job) for loader in (hydra.config_loader, plain))
            assert OmegaConf.to_container(found) == OmegaConf.to_container(wanted), (
                "files are read once, and stay as they are"
            )


def test_what_is_sent_with_a_job_is_small() -> None:
    with hydra_session() as hydra:
        assert isinstance(hydra.config_loader, JobLoader)
        before = len(pickle.dumps(hydra.config_loader))
        compose_job(hydra, compose([]), ["seed=1"])
        assert len(pickle.dumps(hydra.config_loader)) == before


@pytest.mark.parametrize("launcher", ["local", "basic"])
def test_a_sweep_composes_each_job_once(launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    composed: list[str] = []
    real: Callable[..., DictConfig] = ConfigLoaderImpl.load_sweep_config

    def count(self: ConfigLoaderImpl, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        composed.extend(line for line in sweep_overrides if line.startswith("seed="))
        return real(self, master_config, sweep_overrides)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", count)
    monkeypatch.setattr(sweep, "sweep_job", _nothing)
    monkeypatch.setattr(sweep, "report", lambda folders, study: 0)
    assert main(["train", "-m", f"hydra/launcher={launcher}", "hydra/job_logging=none", "seed=0,1"]) == 0
    assert composed == ["seed=0", "seed=1"]


def _nothing(_: DictConfig) -> None:
    pass
