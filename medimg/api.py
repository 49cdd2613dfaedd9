"""What `medimg train` does, from Python: the same overrides, the same files but for Hydra's own."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from omegaconf import OmegaConf

from medimg.config.check import check, check_files
from medimg.config.compose import compose, hydra_session, load, resolve
from medimg.config.quoting import quoted
from medimg.config.training import TrainConfig
from medimg.errors import RequestError
from medimg.runs import RunFolder


def load_config(overrides: Sequence[str] = ()) -> TrainConfig:
    """The checked configuration of `medimg train` with these overrides, such as `["model=resnet18", "seed=1"]`.

    Raises:
        RequestError: an unknown key, choice or target, a wrong type, a value out of range, or a contradiction.
    """
    return load(overrides)


@contextmanager
def _logging_to(file: Path) -> Iterator[None]:
    """What the run says goes into its folder, whatever logging the caller has set up."""
    handler = logging.FileHandler(file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("medimg")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.close()


def train(overrides: Sequence[str] = (), folder: Path | str | None = None) -> RunFolder:
    """Trains, evaluates the best epoch, and returns the run folder.

    Args:
        overrides: as on the command line of `medimg train`.
        folder: where the run goes; None: below `paths.runs`, as on the command line.

    Raises:
        RequestError: the configuration, the data or a file is wrong.
        MedimgError: the work failed.
    """
    from medimg.training.job import run_job

    with hydra_session():
        composed = compose(quoted(overrides))
        raw = resolve(composed)
        path = Path(folder) if folder is not None else Path(str(OmegaConf.select(composed, "hydra.run.dir")))
    config = check(raw, raw.get("allow"))
    check_files(config)
    if folder is None and (config.trainer.devices != 1 or config.trainer.strategy != "auto"):
        raise RequestError("several devices start this script several times, so they need one folder=... to share")
    run = RunFolder(path.expanduser().absolute())
    run.path.mkdir(parents=True, exist_ok=True)
    with _logging_to(run.path / "train.log"):
        run_job(config, run, in_sweep=False)
    return run
