"""The sweepers, as Hydra finds them; Hydra imports this at every start, so it stays light."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class CheckedBasicSweeper(BasicSweeper):
    """Hydra's own, for jobs that `medimg.training.sweep` has composed and checked before: once is enough."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing is left to be found; composing takes a tenth of a second a job."""


class OptunaSweeper(Sweeper):
    """Proposes trials and has the launcher run them; the work is in `medimg.training.search`."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `sweep`."""
        self.hydra_context, self.config = hydra_context, config
        self.folder = str(config.hydra.sweep.dir)
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: Sequence[str]) -> Any:
        """Called by Hydra with the overrides of the command line."""
        from medimg.commands.train import checked
        from medimg.training.search import search

        settings: Any = OmegaConf.to_container(OmegaConf.create(self.settings), resolve=True)
        return search(settings, list(arguments), self.folder, self.launcher.launch, checked)
