"""`hydra/launcher=local` as Hydra finds it: thin, since Hydra imports this module at every start."""

from collections.abc import Sequence

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class LocalLauncher(Launcher):
    """One forked process a job; see `medimg.training.launcher`.

    Args:
        n_jobs: how many jobs run at a time; `auto`: see `medimg.training.launcher.how_many`.
    """

    def __init__(self, n_jobs: int | str) -> None:
        self.n_jobs = n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `launch`."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs; called by sweepers."""
        from medimg.training.launcher import launch

        return launch(
            self.hydra_context,
            self.task_function,
            self.config,
            job_overrides,
            first=initial_job_idx,
            n_jobs=self.n_jobs,
        )
