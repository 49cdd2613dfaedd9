"""A job of a sweep, in whatever process a launcher runs it: nothing that happens to it ends the sweep."""

import gc
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from medimg.config.check import check
from medimg.errors import MedimgError
from medimg.files import write_text
from medimg.runs import RunFolder
from medimg.runs.lock import LockedError
from medimg.training.fresh_process import become_resume, takes_many
from medimg.training.job import is_done, run_job, with_absolute_paths

log = logging.getLogger(__name__)

_forked = False


class SweepStopped(BaseException):
    """A job failed, and `sweep.on_error=stop`. No Exception, so that Hydra's launchers let it through."""


@contextmanager
def job_environment(gpu: str | None, threads: int | None, jobs: int) -> Iterator[None]:
    """What the local launcher gives the process of a job: a GPU of its own, or its share of the cores.

    How many jobs run at a time goes into MEDIMG_JOBS, by which a job knows its share of the memory.
    """
    global _forked  # noqa: PLW0603 - it is a fact about this process
    _forked = True
    os.environ["MEDIMG_JOBS"] = str(jobs)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    if threads is not None:
        import torch

        torch.set_num_threads(min(threads, torch.get_num_threads()))
    yield


def sweep_job(composed: DictConfig) -> float | None:
    """Runs a job in the folder that Hydra has made for it; returns its best monitored value, None where it failed."""
    try:
        return _guarded(composed)
    finally:
        if not _forked:
            _free_memory()


def _guarded(composed: DictConfig) -> float | None:
    folder = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    try:
        raw: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
        config = with_absolute_paths(check(raw, raw.get("allow")))
        if _forked and takes_many(config.trainer) and not is_done(config, folder):
            become_resume(config, folder)
        return run_job(config, folder, in_sweep=True)
    except LockedError:
        log.error("%s: another process is running it right now", folder.path.name)
        return None
    except Exception as error:
        kind = "" if isinstance(error, MedimgError) else f"{type(error).__name__}: "
        log.error("%s: failed: %s%s", folder.path.name, kind, error)
        with suppress(OSError):  # a full disk is the likely cause
            write_text(folder.error_file, f"{kind}{error}\n\n{traceback.format_exc()}")
            if folder.info().get("status") != "completed":
                folder.update(status="failed")
        return None


def _free_memory() -> None:
    """For the next job in this process. A trainer and its model refer to each other, and wait for the collector."""
    gc.collect()
    if (pyplot := sys.modules.get("matplotlib.pyplot")) is not None:
        pyplot.close("all")
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def stopping(job: Callable[[DictConfig], Any], composed: DictConfig) -> Any:
    """A job that ends the sweep where it fails, for the launcher that runs jobs in this process.

    Raises:
        SweepStopped: it has failed.
    """
    from medimg.training.job_end import has_failed

    value = job(composed)
    if has_failed(RunFolder(Path(HydraConfig.get().runtime.output_dir))):
        raise SweepStopped
    return value
