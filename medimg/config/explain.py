"""Turns Hydra's errors into ours: what was found, what is allowed, and the nearest match."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from medimg.config.kinds import fields, find
from medimg.errors import RequestError, nearest, suggestion

# launchers of the Hydra ecosystem, and our extra that brings each
EXTRAS = {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit", "ray": "ray"}


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
    except (YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"a file of the configuration is not YAML\n  {error}") from error
    except ValueError as error:  # what Hydra raises for model=null
        raise RequestError(_no_choice(error, overrides)) from error


def _missing_choice(error: MissingConfigException) -> str:
    group, _, choice = (error.missing_cfg_file or "").removesuffix(".yaml").rpartition("/")
    if group == "hydra/launcher" and choice in EXTRAS:
        return f"{group}={choice} is not installed\n  pip install 'medimg[{EXTRAS[choice]}]'"
    options = list(error.options or [])
    if not options:
        return f"there is no choice {choice!r} in the group {group!r}\n  {str(error).splitlines()[0]}"
    listed = ", ".join(options)
    return f"{group}={choice}: no such choice. {suggestion(choice, options)}\n  choices of {group}: {listed}"


def _no_choice(error: ValueError, overrides: Sequence[str]) -> str:
    """A group was given something other than the name of a choice."""
    for line in overrides:
        group, _, value = line.lstrip("+").partition("=")
        choices = _choices(group) if re.fullmatch(r"null|true|false|[\d.]+", value.strip().lower()) else []
        if choices:
            return f"{group}={value}: no such choice\n  choices of {group}: {', '.join(choices)}"
    return f"{' '.join(overrides)}: cannot be read as key=value\n  {error}"


def _choices(group: str) -> list[str]:
    hydra = GlobalHydra.instance().hydra
    return sorted(hydra.config_loader.get_group_options(group)) if hydra and group else []


def _syntax(error: OverrideParseException) -> str:
    key = error.override.partition("=")[0].lstrip("+~")
    # the values of keys that take text are quoted for the user, so a key that is misspelt may be all that is wrong
    if "." in key and not key.startswith("hydra.") and not find(key):
        hint = suggestion(key, dict.fromkeys(field.key for field in fields()))
        if hint:
            return f"there is no key {key!r}. {hint}"
    return (
        f"{error.override}: cannot be read as key=value\n"
        f"  {str(error).splitlines()[0]}\n"
        "  a value with commas, spaces, brackets or = needs quotes twice, for the shell and for Hydra:\n"
        "  'data.root=\"/scans (old)/a=b\"'"
    )


def _other(error: Exception, overrides: Sequence[str]) -> str:
    text = str(error)
    if isinstance(error, ConfigCompositionException):
        if sweep := re.search(r"(?:Sweep parameters|Ambiguous value for argument) '(.+?)'", text):
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
    groups, keys, chosen = _existing(others, of_hydra=key.startswith("hydra."))
    if key in groups:
        return (
            f"{key!r} is a group, and was looked for in a place where it is not one\n"
            "  in a file of your own conf/, the first line has to be: # @package _global_"
        )
    if "/" in key:
        return f"there is no group {key!r}. {suggestion(key, groups)}\n  groups: {', '.join(groups)}"
    parent = key.rpartition(".")[0]
    siblings = sorted({name for name in keys if name.rpartition(".")[0] == parent})
    last = key.rpartition(".")[2]
    near = nearest(key, [*keys, *groups], n=1) or [name for name in keys if name.rpartition(".")[2] == last][:1]
    hint = f" Did you mean {near[0]!r}?" if near else ""
    where = ""
    if siblings and parent:
        where = f"\n  keys of {parent}: {', '.join(name.rpartition('.')[2] for name in siblings)}"
    choices = _choices(parent.partition(".")[0])
    listed = f"\n  choices of {parent.partition('.')[0]}: {', '.join(choices)}"
    if parent in chosen and find(key):
        hint, where = f" {parent}={chosen[parent]} has none, but others have.", where + listed
    elif not siblings and parent in keys and choices:
        hint, where = f" {parent} has no keys here.", listed
    return f"there is no key {key!r}.{hint}{where}" + ("" if where else "\n  medimg train --help lists the keys")


def _existing(overrides: Sequence[str], *, of_hydra: bool) -> tuple[list[str], list[str], dict[str, Any]]:
    """The groups and dotted keys of the configuration with these overrides, and what is chosen of the groups.

    Nothing of what depends on overrides that fail as well.
    """
    hydra = GlobalHydra.instance().hydra
    if hydra is None:
        return [], [], {}
    groups = [group for group in hydra.config_loader.list_groups("") if group != "hydra"]
    try:
        config = hydra.compose_config(
            config_name="train", overrides=list(overrides), run_mode=RunMode.RUN, with_log_configuration=False
        )
    except (HydraException, OmegaConfBaseException):
        return groups, [], {}
    keys = [key for key in _dotted(config) if key.startswith("hydra.") == of_hydra]
    return groups, keys, dict(config.hydra.runtime.choices)


def _dotted(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in config:
        name = f"{prefix}{key!s}"
        yield name
        child = config._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _dotted(child, f"{name}.")
