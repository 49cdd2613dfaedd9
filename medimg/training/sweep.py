"""A sweep: every job checked before the first starts, Hydra's launcher to run them, and a table at the end."""

import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from omegaconf import DictConfig, OmegaConf, open_dict

from medimg.config.compose import compose, compose_job, expanded, jobs, of_hydra, parse, without_sweep
from medimg.config.names import job_folder
from medimg.config.quoting import quote
from medimg.config.training import TrainConfig
from medimg.errors import Interrupted, RequestError
from medimg.runs import RunFolder
from medimg.runs.records import find_runs
from medimg.terminal import show
from medimg.training.fresh_process import takes_many
from medimg.training.job_end import lines_of_failures
from medimg.training.sweep_job import SweepStopped, stopping, sweep_job

log = logging.getLogger(__name__)

Check = Callable[[DictConfig], TrainConfig]


def sweep(hydra: Hydra, overrides: Sequence[str], check: Check) -> int:
    """Runs every combination; the exit code is 1 where a job has no result.

    Args:
        hydra: of the session.
        overrides: of the command line, values to try separated by commas.
        check: raises RequestError for the composed configuration of a job that cannot run.
    """
    for override in parse(overrides):
        if override.is_sweep_override() and override.key_or_group in {"name", "paths.runs", "hydra.sweep.dir"}:
            raise RequestError(f"{override.input_line}: the jobs of a sweep share one folder, so give one value")
        if override.key_or_group == "hydra.sweep.subdir":
            raise RequestError(
                f"{override.input_line}: jobs are named by their settings, so that the same command finds them again"
            )
    base = compose(without_sweep(overrides))
    study = Path(base.hydra.sweep.dir).absolute()
    _refuse_launcher(base)
    # one folder for all jobs: in those that sweep over models, `name` would be another in each
    overrides = [*overrides, quote("hydra.sweep.dir", str(study))]
    planned: list[list[str]] = []
    if "BasicSweeper" in str(OmegaConf.select(base, "hydra.sweeper._target_")):
        # written out here, so that what is checked is what runs, and no two jobs are the same
        overrides = [*expanded(overrides, base), "hydra.sweeper.params=null"]
        planned = jobs(overrides)
        with open_dict(base):
            base.hydra.overrides.hydra = of_hydra(overrides)
        _check_all(hydra, planned, check, base)
    job: Callable[[DictConfig], Any] = sweep_job
    if base.sweep.on_error == "stop" and _launcher(base) == "basic":
        job = partial(stopping, sweep_job)
    if _launcher(base) not in {"local", "basic"}:
        log.warning("hydra/launcher=%s starts the jobs; each writes %s/.../train.log", _launcher(base), study)
    try:
        hydra.multirun("train", job, overrides)
    except SweepStopped:
        log.error("sweep.on_error=stop: a job failed, so no other is started")
    except Interrupted:
        log.warning("the same command again goes on with this sweep")
        raise
    folders = [RunFolder(study / job_folder(one)) for one in planned]
    return report(folders or find_runs([study]), study)


def report(folders: Sequence[RunFolder], study: Path) -> int:
    """Writes and prints the study's leaderboard and what has no result; 1 where that is any.

    Earlier sweeps of the study are in the table, too.
    """
    from medimg.reporting.leaderboard import write_leaderboard

    show(write_leaderboard([*folders, *find_runs([study])], study))
    log.warning("\nreport.html and leaderboard.csv, .md and .png are in %s", study)
    failures = lines_of_failures(folders)
    if failures:
        log.error("%d of %d jobs have no result:", len(failures), len(folders))
    for line in failures:
        log.error("%s", line)
    return 1 if failures else 0


def _check_all(hydra: Hydra, planned: Sequence[Sequence[str]], check: Check, base: DictConfig) -> None:
    """Raises RequestError for the first job that cannot run, by its number."""
    for number, overrides in enumerate(planned, 1):
        try:
            config = check(compose_job(hydra, base, overrides))
            if takes_many(config.trainer) or (config.trainer.devices == "auto" and _launcher(base) != "local"):
                _refuse_many_devices(base)
        except RequestError as error:
            raise RequestError(f"job {number} of {len(planned)} ({' '.join(overrides)}): {error}") from None


def _refuse_many_devices(base: DictConfig) -> None:
    """Helper processes run the same command line again: in a sweep, all of the sweep."""
    if _launcher(base) == "local":
        from medimg.training.launcher import how_many

        how_many(base.hydra.launcher.n_jobs, many=True)
        return
    raise RequestError(
        f"hydra/launcher={_launcher(base)}: a job of a sweep takes one device\n"
        "  hydra/launcher=local can have several; or trainer.devices=1 trainer.strategy=auto"
    )


def _refuse_launcher(base: DictConfig) -> None:
    """What the launcher cannot do is said before anything runs."""
    name = _launcher(base)
    if name == "local":
        if not hasattr(os, "fork"):
            raise RequestError("hydra/launcher=local forks, which this system cannot\n  hydra/launcher=basic")
        from medimg.training.launcher import how_many

        how_many(base.hydra.launcher.n_jobs)
    elif name != "basic" and base.sweep.on_error == "stop":
        raise RequestError(
            f"sweep.on_error=stop: hydra/launcher={name} starts all jobs at once and cannot be stopped by one\n"
            "  sweep.on_error=continue, or hydra/launcher=local"
        )


def _launcher(base: DictConfig) -> str:
    """The name of the choice: `local`, `basic`, or another."""
    return str(base.hydra.runtime.choices["hydra/launcher"])
