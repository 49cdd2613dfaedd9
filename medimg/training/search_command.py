"""The command line that trains a trial of a search again, as a run of its own."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from medimg.config import TrainConfig
from medimg.config.check import as_dict
from medimg.errors import RequestError
from medimg.training.search_space import plain

_OF_THE_SEARCH = ("sweep=", "sweep.", "name=", "callbacks.pruning")


def command(overrides: Sequence[str], check: Callable[[Sequence[str]], TrainConfig]) -> str:
    """The overrides of a trial without the search, and what the search's file in conf/sweep has set besides."""
    kept = [line for line in overrides if not line.startswith(_OF_THE_SEARCH)]
    config = check(overrides)
    changed: list[str] = []
    with suppress(RequestError):  # where they make no sense without that file
        there, here = _flat(as_dict(config)), _flat(as_dict(check(kept)))
        differing = [key for key, value in there.items() if here.get(key, value) != value]
        changed = [f"{key}={plain(there[key])}" for key in differing if not f"{key}=".startswith(_OF_THE_SEARCH)]
    return shlex.join(["medimg", "train", *kept, *changed, f"name={config.name}_best"])


def _flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in node.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat
