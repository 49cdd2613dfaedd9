"""The course of a run: data, model, training, evaluation of the best epoch, and what each leaves in the run folder."""

import logging
import os
import time
import traceback
from collections.abc import Collection
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medimg.checks.quick import check_before_training
from medimg.config import TrainConfig
from medimg.config.check import as_dict
from medimg.data.changes import changes
from medimg.data.groups import CAVEAT, GroupSizes
from medimg.data.load import load_manifest
from medimg.data.manifest import Manifest, write_manifest_csv
from medimg.errors import Interrupted, MedimgError, RequestError
from medimg.files import write_text
from medimg.runs import RunFolder, provenance
from medimg.runs.lock import locked
from medimg.training.failures import leave_word, take_word, told
from medimg.training.interrupts import Interrupts, interruptible

if TYPE_CHECKING:
    from medimg.training.experiment import Experiment

log = logging.getLogger(__name__)


def train(
    config: TrainConfig,
    folder: RunFolder,
    *,
    in_sweep: bool = False,
    resume: bool = False,
    force: Collection[str] = (),
) -> dict[str, Any]:
    """Trains, evaluates the best epoch, and writes the run folder.

    Args:
        config: checked.
        folder: of the run; made if it is not there.
        in_sweep: whether `evaluate_test=auto` leaves the test split alone, and figures and report are the sweep's.
        resume: go on from the last checkpoint in the folder, or from the start where there is none yet.
        force: what may have changed since the run began: `data`, or keys of the configuration.

    Returns:
        The content of results.json.

    Raises:
        RequestError: the data, a file or the configuration is wrong, or another process is writing the run.
        MedimgError: the work failed; the traceback is in error.txt.
        Interrupted: a signal ended it; the run can be resumed.
    """
    folder = RunFolder(folder.path.absolute(), writable=is_first_process())
    if not folder.writable:
        logging.getLogger("medimg").setLevel(logging.WARNING)  # the first process speaks for all
    with locked(folder.path) if folder.writable else nullcontext():
        # a run that goes on is left as it is until it is sure that it can
        clock = None if resume else _begin(config, folder, in_sweep=in_sweep)
        try:
            with interruptible() as interrupts:
                manifest, checkpoint, experiment = _prepare(config, folder, interrupts, resume=resume, force=force)
                if clock is None:
                    clock = _go_on(experiment.config, folder, experiment.seconds_before, force)
                _record_data(folder, manifest)
                folder.update(**experiment.facts())
                experiment.fit(checkpoint)
                results = experiment.evaluate(["val", "test"] if _looks_at_test(config, in_sweep) else ["val"])
                _stop_clock(folder, clock)
                if not in_sweep:
                    experiment.report()
        except Interrupted:
            if clock is not None:
                _end(folder, "interrupted", clock)
                if folder.writable:
                    log.info("medimg resume run=%s goes on with it", folder.shown)
            raise
        except Exception as error:
            failure = take_word(folder) or told(error, folder)
            if clock is not None:
                _record_failure(folder, clock, failure)
            raise failure from error
        folder.update(status="completed")  # the last of all: a run that was killed before is taken up again
    return results


def _begin(config: TrainConfig, folder: RunFolder, *, in_sweep: bool) -> float:
    """Writes what is known before anything runs; returns when that was."""
    if folder.writable:
        folder.claim()
    folder.update(
        status="running",
        name=config.name,
        seed=config.seed,
        monitor=as_dict(config.monitor),
        started=provenance.now(),
        finished=None,
        in_sweep=in_sweep,
        command=provenance.command(),
        versions=provenance.versions(),
        git=provenance.git_state(Path.cwd()),
    )
    folder.write_config(as_dict(config))  # after run.json: one without a configuration has not begun
    return time.monotonic()


def _go_on(config: TrainConfig, folder: RunFolder, seconds: float, force: Collection[str]) -> float:
    """Makes ready a run that is taken up; returns when it would have started had it never stopped."""
    before = folder.info()
    if "test" in folder.results() and not _looks_at_test(config, bool(before.get("in_sweep"))):
        log.warning(
            "its scores on test are of the weights so far, and go; medimg evaluate run=%s split=test looks again",
            folder.shown,
        )
    folder.forget_results()
    folder.write_config(as_dict(config))
    folder.update(
        status="running",
        finished=None,
        versions=provenance.versions(),
        git=provenance.git_state(Path.cwd()),
        resumed=[*before.get("resumed", []), {"at": provenance.now(), "forced": sorted(force)}],
    )
    return time.monotonic() - max(seconds, float(before.get("seconds") or 0.0))


def _end(folder: RunFolder, status: str, clock: float) -> None:
    _stop_clock(folder, clock)
    folder.update(status=status)


def _stop_clock(folder: RunFolder, clock: float) -> None:
    folder.update(finished=provenance.now(), seconds=round(time.monotonic() - clock, 3))


def _record_failure(folder: RunFolder, clock: float, failure: MedimgError) -> None:
    """Writes error.txt, what is told first and then the traceback, and the status, as far as the disk allows."""
    if not folder.writable:
        leave_word(failure, folder)
        return
    try:
        write_text(folder.error_file, f"{failure}\n\n{traceback.format_exc()}")
        _end(folder, "failed", clock)
    except OSError as error:
        log.error("%s: the failure could not be recorded: %s", folder.shown, error)


def _prepare(
    config: TrainConfig, folder: RunFolder, interrupts: Interrupts, *, resume: bool, force: Collection[str]
) -> tuple[Manifest, Path | None, "Experiment"]:
    """The images, the checkpoint to start from, and the experiment, which can start from it."""
    # the data first: its mistakes are found before anything heavy is imported
    cache = Path(config.paths.cache).expanduser()
    manifest = load_manifest(config.data, cache)
    if resume and "data" not in force:
        _refuse_other_data(folder, manifest)
    # a resumed run keeps the check that it was begun with
    file = folder.check_file if folder.writable and not resume else None
    check_before_training(manifest, config.data, file, cache)

    from medimg.training.experiment import Experiment
    from medimg.training.find import find, is_asked

    checkpoint = _starting_point(config, folder, resume=resume)
    if is_asked(config):
        config = find(config, folder, manifest)
    experiment = Experiment(config, folder, manifest, interrupts, load_weights=checkpoint is None)
    if checkpoint is not None:
        experiment.start_from(checkpoint, force)
    return manifest, checkpoint, experiment


def _starting_point(config: TrainConfig, folder: RunFolder, *, resume: bool) -> Path | None:
    """The checkpoint whose full state training goes on from; None: it begins."""
    if resume and folder.last.is_file():
        return folder.last
    if resume and folder.epochs() <= 1:
        folder.forget_checkpoints()  # killed before the first epoch's last.ckpt, the best one may be there
    if resume and any(folder.checkpoints.glob("*.ckpt")):
        raise RequestError(
            f"{folder.shown} has no checkpoints/{folder.last.name} to go on from, though it has others\n"
            "  ckpt_path=FILE starts a new run from one of them"
        )
    if resume:
        log.info("no checkpoint yet: the run begins anew")
    return Path(config.ckpt_path).expanduser() if config.ckpt_path else None


def _refuse_other_data(folder: RunFolder, manifest: Manifest) -> None:
    if folder.info().get("data_fingerprint") not in {None, manifest.fingerprint()}:
        raise RequestError(
            f"the images have changed since {folder.shown} was started: {changes(folder.manifest_file, manifest)}\n"
            "  a new run takes them as they are now; 'force=[data]' goes on with them all the same"
        )


def _record_data(folder: RunFolder, manifest: Manifest) -> None:
    if folder.writable:
        write_manifest_csv(manifest, folder.manifest_file)
    folder.update(
        classes=list(manifest.classes),
        positive_class=manifest.positive_class,
        split_unit=manifest.split_unit,
        groups=_groups(manifest),
        synthetic=manifest.synthetic,
        counts=manifest.counts(),
        data_fingerprint=manifest.fingerprint(),
        skipped={"count": len(manifest.skipped), "files": dict(manifest.skipped)},
        images_fingerprint=manifest.images_fingerprint(),
    )


def _groups(manifest: Manifest) -> dict[str, Any] | None:
    """What stood in for patients, for whoever reads the run's scores; None where nothing did."""
    sizes = GroupSizes.of(manifest)
    return None if sizes is None else {"number": sizes.number, "largest": sizes.largest, "note": CAVEAT}


def _looks_at_test(config: TrainConfig, in_sweep: bool) -> bool:
    """A sweep selects among its jobs, so they leave the test split alone, unless it is a fold's own held-out part."""
    if config.evaluate_test == "auto":
        return not in_sweep or config.data.fold is not None
    return config.evaluate_test


def is_first_process() -> bool:
    """Distributed training starts helpers that run the same command; the first process alone writes."""
    ranks = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK")
    return all(int(os.environ.get(name, "0")) == 0 for name in ranks)
