"""Composes the configuration with Hydra: our groups, the user's own `conf/`, overrides, and the jobs of a sweep."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from medimg.config.check import check, refuse_missing
from medimg.config.explain import explained
from medimg.config.job_loader import JobLoader
from medimg.config.names import job_folder, unique
from medimg.config.quoting import quoted
from medimg.config.training import TrainConfig
from medimg.errors import RequestError

# here, and not where Hydra starts: the processes of other launchers import this module and do not start Hydra
OmegaConf.register_new_resolver("medimg.unique", unique, replace=True, use_cache=True)
OmegaConf.register_new_resolver("medimg.job_folder", job_folder, replace=True)


def conf_dir() -> Path:
    """The folder of our own groups: inside the package when installed, at the top of a checkout otherwise."""
    package = Path(__file__).parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


class UserConf(SearchPathPlugin):
    """Adds `conf/` of the working directory after ours: it can add choices and cannot replace one."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra when the search path is made."""
        own = Path.cwd() / "conf"
        if own.is_dir() and own != conf_dir():
            search_path.append(provider="user", path=f"file://{own}")


@contextmanager
def hydra_session(job_name: str = "train") -> Iterator[Hydra]:
    """Hydra, knowing our groups and search path."""
    Plugins.instance().register(UserConf)
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_dir()), job_name=job_name):
        hydra = GlobalHydra.instance().hydra
        if hydra is None:
            raise RuntimeError("Hydra did not start")
        hydra.config_loader = JobLoader(hydra.config_loader.get_search_path())
        yield hydra


def compose(overrides: Sequence[str], config_name: str = "train") -> DictConfig:
    """The composed configuration, Hydra's own part included. Needs a `hydra_session`.

    Raises:
        RequestError: an override names what does not exist; the message names the nearest that does.
    """
    with explained(overrides):
        return hydra_compose(config_name, list(overrides), return_hydra_config=True)


def compose_job(hydra: Hydra, sweep: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The configuration of a job of a sweep, Hydra's own part included.

    Args:
        hydra: of the session.
        sweep: composed, with all that is given for Hydra itself.
        overrides: of the job.

    Raises:
        RequestError: as `compose`.
    """
    loader = cast(JobLoader, hydra.config_loader)
    with explained(overrides):
        return loader.prepare(sweep, overrides)


def resolve(config: DictConfig) -> dict[str, Any]:
    """Our part of a composed configuration in plain containers, interpolations replaced by their values.

    Raises:
        RequestError: a value is missing, or an interpolation names what does not exist.
    """
    with explained(()):
        refuse_missing(unresolved(config))
        ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        ours._set_parent(config)
        plain: dict[str, Any] = OmegaConf.to_container(ours, resolve=True)  # type: ignore[assignment]
    return plain


def unresolved(config: DictConfig) -> dict[str, Any]:
    """Our part of a composed configuration in plain containers, as it is written."""
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=False)  # type: ignore[assignment]
    return {key: value for key, value in plain.items() if key != "hydra"}


def load(overrides: Sequence[str] = ()) -> TrainConfig:
    """The checked configuration of `medimg train` with these overrides, such as `["model=resnet18", "seed=1"]`.

    Raises:
        RequestError: an unknown key, choice or target, a wrong type, a value out of range, or a contradiction.
    """
    with hydra_session():
        raw = resolve(compose(quoted(overrides)))
    return check(raw, raw.get("allow"))


def expanded(overrides: Sequence[str], composed: DictConfig) -> list[str]:
    """The overrides of a sweep with all values of each key written out, each value once.

    `composed` is the configuration without the sweep: the keys of `hydra.sweeper.params` in it come first, but for
    those that the command line gives as well.
    """
    params = OmegaConf.select(composed, "hydra.sweeper.params") or {}
    given = parse(overrides)
    taken = {override.key_or_group for override in given}
    added = parse([f"{key}={value}" for key, value in params.items() if str(key).lstrip("+") not in taken])
    lines = []
    for override in [*added, *given]:
        values = str(override.input_line)
        if override.is_discrete_sweep():
            values = f"{override.get_key_element()}={','.join(dict.fromkeys(override.sweep_string_iterator()))}"
        elif override in added:
            # hidden from the configuration that all jobs share: it may be for what one of the swept choices has
            values = f"{override.get_key_element()}=choice({values.partition('=')[2]})"
        lines.append(values)
    return lines


def jobs(overrides: Sequence[str]) -> list[list[str]]:
    """The overrides of each job of an expanded sweep, in the order in which Hydra's basic sweeper runs them."""
    parsed = [override for override in parse(overrides) if not override.is_hydra_override()]
    for override in parsed:
        if override.is_interval_sweep():
            raise RequestError(
                f"{override.input_line}: an interval has no end of values to sweep over\n"
                "  sweep=search searches in it; or name the values: optimizer.lr=0.001,0.01"
            )
    return [list(job) for job in BasicSweeper.split_arguments(parsed, max_batch_size=None)[0]]


def without_sweep(overrides: Sequence[str]) -> list[str]:
    """The overrides that all jobs of a sweep share."""
    return [
        line for line, override in zip(overrides, parse(overrides), strict=True) if not override.is_sweep_override()
    ]


def of_hydra(overrides: Sequence[str]) -> list[str]:
    """Those for Hydra's own part of the configuration."""
    return [str(override.input_line) for override in parse(overrides) if override.is_hydra_override()]


def parse(overrides: Sequence[str]) -> list[Override]:
    """Hydra's reading of the overrides."""
    hydra = GlobalHydra.instance().hydra
    loader = hydra.config_loader if hydra else None  # knows the choices that glob(*) stands for
    with explained(overrides):
        return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))
