"""A sweep: every job checked before the first starts, Hydra's launcher to run them, and a table at the end."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from omegaconf import DictConfig, OmegaConf

from medimg.config.compose import compose, jobs, parse, without_sweep
from medimg.config.names import job_folder
from medimg.config.quoting import quote
from medimg.config.training import TrainConfig
from medimg.errors import RequestError
from medimg.runs import RunFolder
from medimg.runs.records import find_runs

log = logging.getLogger(__name__)

Check = Callable[[Sequence[str]], TrainConfig]
Job = Callable[[DictConfig], Any]


def sweep(hydra: Hydra, overrides: Sequence[str], check: Check, job: Job) -> int:
    """Runs every combination; the exit code is 1 where a job failed.

    Args:
        hydra: of the session.
        overrides: of the command line, values to try separated by commas.
        check: raises RequestError for the overrides of a job that cannot run.
        job: runs one.
    """
    for override in parse(overrides):
        if override.is_sweep_override() and override.key_or_group in {"name", "paths.runs"}:
            raise RequestError(f"{override.input_line}: the jobs of a sweep share one folder, so give one value")
    base = compose(without_sweep(overrides))
    study = Path(base.hydra.sweep.dir).absolute()
    folders = []
    if "BasicSweeper" in str(OmegaConf.select(base, "hydra.sweeper._target_")):
        planned = jobs(overrides, base)
        for number, job_overrides in enumerate(planned):
            try:
                _refuse_many_devices(check(job_overrides))
            except RequestError as error:
                raise RequestError(f"job {number} ({' '.join(job_overrides)}): {error}") from None
        folders = [RunFolder(study / job_folder(one)) for one in planned]
    # one folder for all jobs: in those that sweep over models, `name` would be another in each
    hydra.multirun("train", job, [*overrides, quote("hydra.sweep.dir", str(study))])
    return report(folders or [RunFolder(file.parent) for file in sorted(study.glob("*/run.json"))], study)


def _refuse_many_devices(config: TrainConfig) -> None:
    """Helper processes run the same command line again: in a sweep, all of the sweep."""
    if config.trainer.strategy != "auto" or config.trainer.devices not in {1, "auto"}:
        raise RequestError(
            "a job of a sweep takes one device\n"
            "  trainer.devices=1 trainer.strategy=auto; or run the jobs one by one, without -m"
        )


def report(folders: Sequence[RunFolder], study: Path) -> int:
    """Writes and prints the study's leaderboard, earlier sweeps included, and what failed; 1 where something did."""
    from medimg.reporting.leaderboard import write_leaderboard

    failed = [folder for folder in folders if folder.info().get("status") != "completed"]
    print(write_leaderboard([*folders, *find_runs([study])], study))  # noqa: T201 - the result of the command
    for folder in failed:
        log.error("failed: %s (%s)", folder.shown, folder.error_file.name)
    return 1 if failed else 0
