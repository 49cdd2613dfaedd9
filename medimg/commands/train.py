"""`medimg train`: one run, or with -m a sweep."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from medimg.commands.help import help_text
from medimg.commands.options import parser
from medimg.config.check import check, check_files
from medimg.config.compose import compose, hydra_session, resolve, unresolved
from medimg.config.explain import explained
from medimg.config.quoting import quoted
from medimg.config.training import TrainConfig
from medimg.errors import MedimgError, RequestError
from medimg.runs import RunFolder

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Composes and checks the configuration, all jobs of a sweep included, before anything runs."""
    options = _options(arguments)
    overrides = quoted(options.overrides)
    with hydra_session() as hydra:
        if options.help:
            print(help_text(_groups(hydra), _defaults(compose(overrides))))
            return 0
        if options.cfg:
            print(_shown(compose(overrides), options.cfg, options.package, resolved=options.resolve))
            return 0
        if options.multirun or hydra.get_mode("train", overrides) == RunMode.MULTIRUN:
            from medimg.training.sweep import sweep

            return sweep(hydra, overrides, checked_as_composed)
        checked(overrides)
        _refuse_lonely_processes(overrides)
        outcome = hydra.run("train", _outcome, overrides).return_value
    if isinstance(outcome, MedimgError):
        raise outcome
    return 0


def _shown(composed: DictConfig, kind: str, package: str | None, *, resolved: bool) -> str:
    """The configuration as YAML: ours (`job`), Hydra's own (`hydra`), or both (`all`)."""
    keys = [str(key) for key in composed if kind == "all" or (key == "hydra") == (kind == "hydra")]
    part = OmegaConf.masked_copy(composed, keys)
    part._set_parent(composed)
    if package:
        part = OmegaConf.select(part, package)
        if not OmegaConf.is_config(part):
            raise RequestError(f"--package {package}: the configuration has no such part")
    with explained(()):
        return OmegaConf.to_yaml(part, resolve=resolved).rstrip()


def _refuse_lonely_processes(overrides: Sequence[str]) -> None:
    """Processes that torchrun or srun start do not know of each other's run folder: each would make its own."""
    started_together = "TORCHELASTIC_RUN_ID" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    if started_together and not any(line.startswith("hydra.run.dir=") for line in overrides):
        raise RequestError(
            "processes started by torchrun or srun need one run folder for all\n"
            "  hydra.run.dir=FOLDER names it; or start one process, and trainer=ddp starts the others"
        )


def checked(overrides: Sequence[str]) -> TrainConfig:
    """The checked configuration of one job."""
    return checked_as_composed(compose(overrides))


def checked_as_composed(composed: DictConfig) -> TrainConfig:
    """The same, of a configuration that Hydra has composed.

    Raises:
        RequestError: a value is wrong or missing, or names a file that is not there.
    """
    raw = resolve(composed)
    config = check(raw, raw.get("allow"))
    check_files(config)
    return config


def _outcome(composed: DictConfig) -> float | MedimgError | None:
    """A run's value or its error: raised through Hydra, that would be preceded by a line of Hydra's own."""
    try:
        return _job(composed)
    except MedimgError as error:
        return error


def _job(composed: DictConfig) -> float | None:
    """One run in the folder that Hydra made for it; its best monitored value."""
    from medimg.training.job import run_job

    raw: dict[str, Any] = OmegaConf.to_container(composed, resolve=True)  # type: ignore[assignment]
    folder = RunFolder(Path(HydraConfig.get().runtime.output_dir))
    return run_job(check(raw, raw.get("allow")), folder, in_sweep=False)


def _options(arguments: Sequence[str]) -> Any:
    made = parser("train")
    made.add_argument("-m", "--multirun", action="store_true")
    made.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    made.add_argument("--resolve", action="store_true")
    made.add_argument("--package", "-p")
    return made.parse_intermixed_args(list(arguments))


def _defaults(composed: DictConfig) -> dict[str, Any]:
    """The values that the help shows; as they are written, where one that others are made of is not given yet."""
    try:
        return resolve(composed)
    except RequestError:
        return unresolved(composed)


def _groups(hydra: Hydra) -> dict[str, list[str]]:
    names = [name for name in hydra.list_all_config_groups() if not name.startswith("hydra")]
    return {name: sorted(hydra.config_loader.get_group_options(name)) for name in names}
