"""A run as a job: begun or taken up again, and its end said in a line."""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from logging.config import dictConfig
from pathlib import Path
from typing import Any

import msgspec

from medimg.config import CosineConfig, ModelConfig, OneCycleConfig, TorchvisionConfig, TrainConfig
from medimg.config.check import Allowed, as_dict, check
from medimg.config.compare import differences, refuse_changes, with_values
from medimg.config.older import as_begun
from medimg.data.load import load_manifest
from medimg.errors import RequestError
from medimg.runs import RunFolder, find_run
from medimg.training.find import as_found
from medimg.training.run import is_first_process, train

log = logging.getLogger(__name__)

# what may differ between a finished job and the same command again
_ELSEWHERE = ("allow", "evaluation", "paths", "sweep", "trainer.max_epochs")


def run_job(config: TrainConfig, folder: RunFolder, *, in_sweep: bool) -> float | None:
    """Runs a job in its folder; returns its best monitored value, or None where there is none.

    In a sweep a job that is finished already is skipped, and one that was begun is taken up.
    """
    config = _begun(with_absolute_paths(config), folder)
    if not in_sweep:
        return _run(config, folder, in_sweep=False)
    if is_done(config, folder):
        folder.error_file.unlink(missing_ok=True)  # where it was refused before, and no longer is
        log.info("%s: finished before, skipped", folder.path.name)
        return best_value(config, folder)
    return _run(config, folder, in_sweep=True, resume=folder.has_begun())


def resume_job(
    run: str,
    runs: Path,
    changes: Mapping[str, Any] | None = None,
    *,
    allow: Allowed | None = None,
    force: Collection[str] = (),
) -> None:
    """Takes up a run in its own folder, from its last checkpoint, or from the start where there is none.

    Args:
        run: a run folder, or `latest`.
        runs: where `latest` looks.
        changes: values for keys of the run's configuration, such as `{"trainer.max_epochs": 20}`.
        allow: targets of the user's own, by group.
        force: what may differ from the run so far: `data`, or keys of the configuration.

    Raises:
        RequestError: there is no such run, it is finished, cannot be extended, or would go on with other settings.
    """
    folder = find_run(run, runs)
    before = _begun(check(folder.read_config() | {"allow": None}, allow), folder)
    config = check(with_values(as_dict(before), changes or {}), allow)
    refuse_changes(as_dict(before), as_dict(config), folder.shown, force)
    _refuse_extension(before, config, folder)
    _log_to(folder)
    _run(config, folder, in_sweep=bool(folder.info().get("in_sweep")), resume=True, force=force)
    if is_first_process() and "MEDIMG_JOBS" not in os.environ:  # a running sweep does so itself, at its end
        from medimg.reporting.renewal import renew_studies

        renew_studies([folder])


def _refuse_extension(before: TrainConfig, config: TrainConfig, folder: RunFolder) -> None:
    """Raises RequestError where there is nothing left to do, or more epochs would not be more of the same."""
    info = folder.info()
    had, wanted = before.trainer.max_epochs, config.trainer.max_epochs
    more = any(getattr(before.trainer, key) != getattr(config.trainer, key) for key in ("max_steps", "max_time"))
    if info.get("status") == "completed" and wanted <= had and not more:
        raise RequestError(
            f"{folder.shown} is finished, with trainer.max_epochs={had}\n  to extend it: trainer.max_epochs={had + 10}"
        )
    if wanted != had and isinstance(config.scheduler, CosineConfig | OneCycleConfig):
        raise RequestError(
            f"{folder.shown} cannot have {wanted} epochs: its learning-rate schedule was made for {had}, and would "
            "have been another one\n  start a new run, or one from its weights: model.init_from="
            f"{folder.shown}/checkpoints/best.ckpt"
        )
    if wanted > had and info.get("stopped_early"):
        raise RequestError(
            f"{folder.shown} was stopped early by callbacks.early_stopping, and would be so again\n"
            f"  start a new run with more patience, or one from its weights: model.init_from={folder.shown}"
            "/checkpoints/best.ckpt"
        )


def _begun(config: TrainConfig, folder: RunFolder) -> TrainConfig:
    """The configuration as a run that was begun with it goes on: with what it has found, and its arithmetic."""
    if not folder.has_begun():
        return config
    return as_begun(as_found(config, folder.info().get("found") or {}), folder.read_config())


def is_done(config: TrainConfig, folder: RunFolder) -> bool:
    """Whether the folder holds this run, finished; where it does not, it can be begun or taken up.

    Raises:
        RequestError: it is another run, or was made of other images; the message names what differs.
    """
    if not folder.has_begun():
        return False
    config = _begun(config, folder)
    recorded = _begun(check(folder.read_config() | {"allow": None}, config.allow), folder)
    found = differences(as_dict(recorded), as_dict(config), _ELSEWHERE)
    if found:
        shown = "\n".join(f"  {key}: {was} there, {now} now" for key, (was, now) in found.items())
        raise RequestError(
            f"{folder.shown} holds a run with other settings\n{shown}\n"
            "  give the study another name=, or put that folder elsewhere"
        )
    had, wanted = recorded.trainer.max_epochs, config.trainer.max_epochs
    if wanted > had:
        _refuse_extension(recorded, config, folder)
    elif wanted < had and not folder.info().get("resumed"):  # else it has been extended by hand
        raise RequestError(
            f"{folder.shown} holds a run with trainer.max_epochs={had}, not {wanted}\n"
            "  give the study another name=, or put that folder elsewhere"
        )
    if folder.info().get("status") != "completed" or wanted > had:
        return False
    logging.disable(logging.WARNING)  # what there is to say of the data was said when the job ran
    try:
        manifest = load_manifest(config.data, Path(config.paths.cache).expanduser())
    finally:
        logging.disable(logging.NOTSET)
    if folder.info().get("data_fingerprint") != manifest.fingerprint():
        raise RequestError(
            f"{folder.shown} is finished, but the images have changed since\n"
            f"  {folder.manifest_file.name} in it lists what they were; for the new ones give the study another name="
        )
    return True


def best_value(config: TrainConfig, folder: RunFolder) -> float | None:
    """The monitored metric of the best epoch, from the epoch table."""
    import csv

    if not folder.metrics_file.is_file():
        return None
    with folder.metrics_file.open(encoding="utf-8", newline="") as stream:
        values = [float(row[config.monitor.metric]) for row in csv.DictReader(stream) if row.get(config.monitor.metric)]
    choose = max if config.monitor.mode == "max" else min
    return choose(values) if values else None


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """The configuration as it is kept: it means the same wherever it is read."""
    replace = msgspec.structs.replace
    model = config.model
    if isinstance(model, TorchvisionConfig) and model.weights and Path(model.weights).expanduser().is_file():
        model = replace(model, weights=_absolute(model.weights))
    if isinstance(model, ModelConfig) and model.init_from:
        model = replace(model, init_from=_absolute(model.init_from))
    return replace(
        config,
        data=replace(config.data, root=_absolute(config.data.root) if config.data.root else None),
        model=model,
        paths=replace(config.paths, runs=_absolute(config.paths.runs), cache=_absolute(config.paths.cache)),
        ckpt_path=_absolute(config.ckpt_path) if config.ckpt_path else None,
    )


def _run(
    config: TrainConfig, folder: RunFolder, *, in_sweep: bool, resume: bool = False, force: Collection[str] = ()
) -> float | None:
    results = train(config, folder, in_sweep=in_sweep, resume=resume, force=force)
    scores = [f"{split} macro-F1 {results[split]['f1_macro']:.4f}" for split in ("val", "test") if split in results]
    synthetic = " (synthetic images)" if results["synthetic"] else ""
    log.info("best epoch %d: %s%s; run folder %s", results["best_epoch"], ", ".join(scores), synthetic, folder.shown)
    return best_value(config, folder)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _log_to(folder: RunFolder) -> None:
    """The logging that Hydra sets up for `train`, for a run that is taken up without Hydra.

    Raises:
        OSError: nothing can be written there.
    """
    log_file = folder.path / "train.log"
    log_file.open("a", encoding="utf-8").close()  # what dictConfig raises hides the cause
    formats = {
        "terminal": {"format": "%(message)s"},
        "file": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
    }
    handlers: dict[str, dict[str, str]] = {
        "console": {"class": "logging.StreamHandler", "formatter": "terminal"},
        "file": {"class": "logging.FileHandler", "formatter": "file", "filename": str(log_file)},
    }
    names: Sequence[str] = list(handlers)
    dictConfig(
        {
            "version": 1,
            "formatters": formats,
            "handlers": handlers,
            "root": {"level": "INFO", "handlers": names},
            "disable_existing_loggers": False,
        }
    )
