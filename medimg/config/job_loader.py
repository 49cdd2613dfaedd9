"""Hydra's composition of a sweep's jobs, done once for each: to be checked, and then to be run."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import ConfigSearchPath
from omegaconf import DictConfig, OmegaConf


class JobLoader(ConfigLoaderImpl):
    """Hydra's own, but launchers get what was prepared: composing a job takes a tenth of a second."""

    def __init__(self, config_search_path: ConfigSearchPath) -> None:
        super().__init__(config_search_path)
        self._prepared: dict[tuple[str, ...], DictConfig] = {}

    def prepare(self, sweep: DictConfig, overrides: Sequence[str]) -> DictConfig:
        """The configuration of a job, to be read and not to be changed: the launcher gets the same."""
        composed = super().load_sweep_config(sweep, list(overrides))
        self._prepared[_all_overrides(sweep, overrides)] = composed
        return composed

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """Called by launchers, with the configuration of the sweep."""
        prepared = self._prepared.pop(_all_overrides(master_config, sweep_overrides), None)
        if prepared is None:
            return super().load_sweep_config(master_config, sweep_overrides)
        OmegaConf.copy_cache(from_config=master_config, to_config=prepared)  # as Hydra does: one time for all jobs
        return prepared

    def __getstate__(self) -> dict[str, Any]:
        """Other launchers send a loader with each job: it composes that one again."""
        return self.__dict__ | {"_prepared": {}}


def _all_overrides(sweep: DictConfig, job: Sequence[str]) -> tuple[str, ...]:
    """What the configuration of a job is made of."""
    return (str(sweep.hydra.job.config_name), *sweep.hydra.overrides.hydra, *job)
