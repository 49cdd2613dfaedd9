"""Turns Hydra's errors into ours: what was found, what is allowed, and the nearest match."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from medimg.errors import RequestError, nearest, suggestion


@contextmanager
def explained(overrides: Sequence[str]) -> Iterator[None]:
    """Within it, what Hydra and OmegaConf raise arrives as a RequestError."""
    try:
        yield
    except MissingConfigException as error:
        raise RequestError(_missing_choice(error)) from error
    except OverrideParseException as error:
        raise RequestError(_syntax(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise RequestError(_other(error, overrides)) from error


def _missing_choice(error: MissingConfigException) -> str:
    group, _, choice = (error.missing_cfg_file or "").removesuffix(".yaml").rpartition("/")
    options = list(error.options or [])
    if not options:
        return f"there is no choice {choice!r} in the group {group!r}\n  {str(error).splitlines()[0]}"
    listed = ", ".join(options)
    return f"{group}={choice}: no such choice. {suggestion(choice, options)}\n  choices of {group}: {listed}"


def _syntax(error: OverrideParseException) -> str:
    return (
        f"{error.override}: cannot be read as key=value\n"
        f"  {str(error).splitlines()[0]}\n"
        "  a value with commas, spaces, brackets or = needs quotes twice, for the shell and for Hydra:\n"
        "  'data.root=\"/scans (old)/a=b\"'"
    )


def _other(error: Exception, overrides: Sequence[str]) -> str:
    text = str(error)
    if isinstance(error, ConfigCompositionException):
        if sweep := re.search(r"Sweep parameters '(.+)' requires --multirun", text):
            return (
                f"{sweep.group(1)}: several values make a sweep, which needs -m\n"
                "  medimg train -m ...; for one value that has commas, quote it twice: 'key=\"a,b\"'"
            )
        if found := re.search(r"Could not override '([^']+)'", text):
            return _unknown_key(found.group(1), overrides)
        if found := re.search(r"[Aa]ppend.*?'([^']+)'", text):
            return f"{found.group(1)}: this key exists already; give it without the +\n  {text.splitlines()[0]}"
    cause = error.__cause__
    return text.strip() + (f"\n  {str(cause).splitlines()[0]}" if cause and str(cause) not in text else "")


def _unknown_key(key: str, overrides: Sequence[str]) -> str:
    """Composes once more without the override that failed, to see which keys there are."""
    key = key.partition("@")[0]
    others = [line for line in overrides if not re.match(rf"[+~]*{re.escape(key)}(@\S*)?(=|$)", line)]
    groups, keys = _existing(others)
    if "/" in key or key in groups:
        return f"there is no group {key!r}. {suggestion(key, groups)}\n  groups: {', '.join(groups)}"
    parent = key.rpartition(".")[0]
    siblings = sorted({name for name in keys if name.rpartition(".")[0] == parent})
    last = key.rpartition(".")[2]
    near = nearest(key, [*keys, *groups], n=1) or [name for name in keys if name.rpartition(".")[2] == last][:1]
    hint = f" Did you mean {near[0]!r}?" if near else ""
    where = (
        f"\n  keys of {parent}: {', '.join(name.rpartition('.')[2] for name in siblings)}"
        if siblings and parent
        else ""
    )
    return f"there is no key {key!r}.{hint}{where}" + ("" if where else "\n  medimg train --help lists the keys")


def _existing(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """The groups and dotted keys of the configuration with these overrides; nothing where they fail as well."""
    hydra = GlobalHydra.instance().hydra
    if hydra is None:
        return [], []
    groups = [group for group in hydra.list_all_config_groups() if not group.startswith("hydra")]
    try:
        config = hydra.compose_config(
            config_name="train", overrides=list(overrides), run_mode=RunMode.RUN, with_log_configuration=False
        )
    except (HydraException, OmegaConfBaseException):
        return groups, []
    return groups, [key for key in _dotted(config) if not key.startswith("hydra.")]


def _dotted(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in config:
        name = f"{prefix}{key!s}"
        yield name
        child = config._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _dotted(child, f"{name}.")
