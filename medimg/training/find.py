"""Finds the batch size and the learning rate of a run before it starts, in a training of its own that leaves nothing.

What was found takes the place of what was given in config.yaml, so the run is the one that was given these values.
"""

import io
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from medimg.config import TrainConfig
from medimg.config.check import as_dict, check
from medimg.config.compare import with_values
from medimg.data.manifest import Manifest
from medimg.errors import RequestError
from medimg.runs import RunFolder

if TYPE_CHECKING:
    from medimg.training.probe import Probe

log = logging.getLogger(__name__)

_STEPS = 100  # of the range test, from the lowest rate to the highest
_RATES = (1e-7, 1.0)
_UNSETTLED = 10  # steps before the smoothed loss means something
_FEWEST = 3
_FIRST_SIZE = 2
_STEPS_A_SIZE = 3
_STEPS_AN_EPOCH = 4  # at the least: with fewer, an epoch is next to no training
_ENDLESS = 10**6


def is_asked(config: TrainConfig) -> bool:
    """Whether something is to be found."""
    return config.find.lr or config.find.batch_size


def as_found(config: TrainConfig, found: Mapping[str, Any]) -> TrainConfig:
    """The configuration with what was found in the place of what was given, and nothing left to find.

    Args:
        config: checked.
        found: values by dotted key, as in `found` of run.json. Where one is lacking that the configuration asks for, it
            comes back as it is.
    """
    wanted = {"optimizer.lr": config.find.lr, "data.batch_size": config.find.batch_size}
    if not is_asked(config) or any(asked and key not in found for key, asked in wanted.items()):
        return config
    values = {key: found[key] for key, asked in wanted.items() if asked}
    return check(with_values(as_dict(config), values | {"find.lr": False, "find.batch_size": False}), config.allow)


def find(config: TrainConfig, folder: RunFolder, manifest: Manifest) -> TrainConfig:
    """Finds what is asked for, and records it in the run folder.

    The batch size comes first, as the learning rate depends on it. All random numbers start from the seed again
    afterwards, when the run's own parts are built.

    Raises:
        RequestError: nothing could be found.
    """
    replace = msgspec.structs.replace
    found: dict[str, Any] = {}
    plain = _without_extras(config)
    if config.find.batch_size:
        given = plain.data.batch_size
        size, why = _with_probe(plain, manifest, _batch_size)
        found["data.batch_size"] = size
        plain = replace(plain, data=replace(plain.data, batch_size=size))
        log.info("find.batch_size: data.batch_size=%d%s: %s", size, _instead_of(size, given), why)
    if config.find.lr:
        found["optimizer.lr"] = _with_probe(plain, manifest, _learning_rate)
        rate, before = found["optimizer.lr"], getattr(config.optimizer, "lr", None)
        log.info("find.lr: optimizer.lr=%g%s", rate, _instead_of(rate, before))
    settled = as_found(config, found)
    folder.update(found=found)  # before config.yaml: a run that is killed in between finds the same once more
    folder.write_config(as_dict(settled))
    return settled


def _instead_of(found: float, given: float | None) -> str:
    return "" if given in {None, found} else f", in the place of {given:g}"


def _without_extras(config: TrainConfig) -> TrainConfig:
    """The same steps, as many as are wanted, with no schedule, and nothing written."""
    replace = msgspec.structs.replace
    trainer = replace(
        config.trainer,
        max_epochs=_ENDLESS,
        max_steps=-1,
        enable_progress_bar=False,
        **dict.fromkeys(("min_epochs", "max_time", "limit_train_batches", "profiler")),
    )
    return replace(config, trainer=trainer, scheduler=None, logger={}, callbacks={})


def _with_probe(config: TrainConfig, manifest: Manifest, ask: Callable[["Probe", TrainConfig], Any]) -> Any:
    """What is asked of a probe, which is gone afterwards, its memory on the GPU too."""
    from lightning.pytorch.utilities.memory import garbage_collection_cuda

    from medimg.training.experiment import Experiment
    from medimg.training.probe import Probe

    with TemporaryDirectory(prefix="medimg-find-") as temporary:
        experiment = Experiment(config, RunFolder(Path(temporary)), manifest, load_weights=True)
        if experiment.trainer.world_size > 1:  # trainer.devices=auto, where there are several
            raise RequestError("what is to be found is found on one device alone: trainer.devices=1")
        experiment.trainer.callbacks.clear()  # type: ignore[attr-defined]  # set by Lightning elsewhere
        shown = sys.stdout.isatty()
        try:
            with nullcontext() if shown else redirect_stderr(io.StringIO()):  # the Tuner has a progress bar of its own
                return ask(Probe(experiment), config)
        finally:
            del experiment
            garbage_collection_cuda()


def _batch_size(probe: "Probe", config: TrainConfig) -> tuple[int, str]:
    """The largest power of two that went through and leaves an epoch some steps, and why it is no larger.

    The processor's memory sets no limit that a program would be told of before it is ended.
    """
    from lightning.pytorch.tuner.tuning import Tuner

    images = len(probe.experiment.manifest.of("train"))
    allowed, sensible = config.find.max_batch_size, max(1, images // _STEPS_AN_EPOCH)
    largest = min(allowed, sensible)
    steps = f"a larger one would leave fewer than {_STEPS_AN_EPOCH} steps an epoch to {images} training images"
    why = f"find.max_batch_size={allowed}" if allowed <= sensible else steps
    if largest < _FIRST_SIZE:
        return largest, why
    probe.batch_size = _FIRST_SIZE  # the Tuner would begin with the given one, where that is as large as the split
    size = Tuner(probe.experiment.trainer).scale_batch_size(
        probe,
        datamodule=probe.experiment.data,
        steps_per_trial=_STEPS_A_SIZE,
        init_val=_FIRST_SIZE,
        max_trials=largest.bit_length() - 1,  # Lightning's own limit, max_val, gives a size that it has not tried
    )
    size = min(size or _FIRST_SIZE, largest)
    return size, why if 2 * size > largest else f"{2 * size} did not fit into memory"


def _learning_rate(probe: "Probe", config: TrainConfig) -> float:
    """By a range test (Smith, 2017): the rate rises from step to step, and the loss falls, and then diverges."""
    from lightning.pytorch.tuner.tuning import Tuner

    finder = Tuner(probe.experiment.trainer).lr_find(
        probe,
        datamodule=probe.experiment.data,
        min_lr=_RATES[0],
        max_lr=_RATES[1],
        num_training=_STEPS,
        update_attr=False,
    )
    rate = None if finder is None else steepest_fall(finder.results["lr"], finder.results["loss"])
    if rate is None:
        raise RequestError(
            f"find.lr: the loss fell at no rate between {_RATES[0]:g} and {_RATES[1]:g}\n  give optimizer.lr by hand"
        )
    return float(f"{rate:.3g}")


def steepest_fall(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate at which the smoothed loss falls fastest, by the logarithm of the rate; None where it never falls.

    Lightning's own suggestion goes by the rate itself, and so takes the noise at the lowest rates for a steep fall.
    """
    found = np.array(losses, dtype=np.float64)[_UNSETTLED:]
    logs = np.log(np.array(rates, dtype=np.float64))[_UNSETTLED:]
    finite = np.isfinite(found)
    if finite.sum() < _FEWEST:
        return None
    slopes = np.gradient(found[finite], logs[finite])
    steepest = int(slopes.argmin())
    return float(np.exp(logs[finite][steepest])) if slopes[steepest] < 0 else None
