"""The local launcher: `n_jobs` jobs at a time, each in a process forked from one that has computed nothing."""

import gc
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from hydra.core.utils import JobReturn, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from medimg.config.features import GROUPS, keeps_features
from medimg.errors import RequestError
from medimg.runs import RunFolder
from medimg.training.gpus import visible_gpus
from medimg.training.job_pool import Job, JobPool, available_cores

_MOST_JOBS = 8  # each takes up to a gigabyte of memory

# whatever a job imports, so that none has to; nothing in it computes with torch
_MODULES = (
    "matplotlib.figure",
    "sklearn.metrics",
    "sklearn.model_selection",
    "tensorboard.plugins.hparams.plugin_data_pb2",
    "torch.utils.tensorboard",
    "medimg.data.phantoms.write",
    "medimg.data.readers.pictures",
    "medimg.models.cnn",
    "medimg.models.torchvision_models",
    "medimg.training.experiment",
)


def launch(
    context: HydraContext,
    task: TaskFunction,
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    *,
    first: int,
    n_jobs: int | str,
) -> list[JobReturn]:
    """Runs the jobs and returns what each came to, in their order.

    Args:
        context: of Hydra.
        task: runs a job in the folder that Hydra has made for it.
        config: of the sweep.
        job_overrides: of each job.
        first: the number of the first job.
        n_jobs: how many at a time, or `auto`.

    Raises:
        RequestError: the jobs do not go together with `n_jobs`.
        Interrupted: a signal came; the jobs that were running have ended.
        SweepStopped: a job failed, and `sweep.on_error=stop`.
    """
    setup_globals()
    configure_log(config.hydra.hydra_logging, config.hydra.verbose)
    Path(str(config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    jobs = [_composed(context, config, first + number, list(one)) for number, one in enumerate(job_overrides)]
    if not all(job.many for job in jobs):  # those are started afresh
        for name in _MODULES:
            import_module(name)
        gc.freeze()  # what is there when jobs are forked is no business of their garbage collectors
    gpus = [] if config.trainer.accelerator == "cpu" else visible_gpus()
    cores = available_cores() if all(_trains_on_features(job) for job in jobs) else 1
    at_a_time = how_many(n_jobs, gpus, cores, many=any(job.many for job in jobs))
    JobPool(context, task, jobs, at_a_time, gpus, stop=config.sweep.on_error == "stop").run()
    return [job.returned for job in jobs]


def how_many(n_jobs: int | str, gpus: Sequence[str] = (), cores: int = 1, *, many: bool = False) -> int:
    """How many jobs run at a time.

    Args:
        n_jobs: as given, or `auto`: one a GPU, or where there is none one a core that is worth a job of its own.
        gpus: that jobs can have.
        cores: that are worth a job of their own; training on features of a frozen trunk gains nothing from a second.
        many: whether a job takes several devices.

    Raises:
        RequestError: it is not a number of jobs, or more than one where a job takes several devices.
    """
    if n_jobs == "auto":
        return 1 if many else len(gpus) or max(1, min(cores, _MOST_JOBS))
    if not isinstance(n_jobs, int) or isinstance(n_jobs, bool) or n_jobs < 1:
        raise RequestError(f"hydra.launcher.n_jobs={n_jobs}: expected auto or a whole number >= 1")
    if many and n_jobs > 1:
        raise RequestError(
            f"hydra.launcher.n_jobs={n_jobs}: jobs on several devices run one after another, as each may take them all"
            "\n  hydra.launcher.n_jobs=1, or trainer.devices=1 trainer.strategy=auto"
        )
    return n_jobs


def _trains_on_features(job: Job) -> bool:
    groups = {name: OmegaConf.to_container(job.config[name], resolve=True) for name in GROUPS}
    return keeps_features(groups)


def _composed(context: HydraContext, config: DictConfig, number: int, overrides: list[str]) -> Job:
    composed = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(composed):
        composed.hydra.job.id = composed.hydra.job.num = number
    folder = Path(str(composed.hydra.sweep.dir)) / str(composed.hydra.sweep.subdir)
    return Job(number, overrides, composed, RunFolder(folder.absolute()))
