"""The text of `medimg train --help`: groups, their choices, and every key with its meaning and default."""

from collections.abc import Iterable, Iterator, Mapping
from textwrap import fill
from typing import Any

from medimg.config.check import ROLES_OF_MANY
from medimg.config.kinds import Field, fields, structs_of

USAGE = """medimg train: trains a model and evaluates its best epoch. Without arguments, on synthetic images.

  medimg train data=covid data.root=DIR model=resnet18 model.freeze=true
  medimg train -m model=resnet18,vgg16 seed=0,1,2     a sweep: every combination

  -m, --multirun      a sweep over comma-separated values
  --cfg job|hydra|all print the configuration and stop
  --resolve           with --cfg: interpolations replaced by their values
  --package KEY       with --cfg: only this part
  -h, --help          this text
"""

KEYS = (
    "Keys (KEY=VALUE), their defaults and meaning; - is a key of another choice of its group.",
    "A callback or logger is switched off by null, as in callbacks.figures=null; the checkpoint callback is always on.",
)


def help_text(groups: Mapping[str, Iterable[str]], config: Mapping[str, Any]) -> str:
    """The whole text.

    Args:
        groups: the choices of each group.
        config: the composed configuration, for the defaults.
    """
    listed = [
        fill(
            f"{name}={' | '.join(choices)}",
            110,
            initial_indent="  ",
            subsequent_indent="      ",
            break_on_hyphens=False,
        )
        for name, choices in groups.items()
    ]
    described: dict[str, str] = {}
    for field in sorted(fields(), key=lambda field: field.key.count(".")):  # plain keys first, then the schema's order
        if field.key not in ROLES_OF_MANY:
            described.setdefault(field.key, field.description)
    described |= {field.key: field.description for field in _named_components(config)}
    keys = [f"  {key:34} {_default(config, key):14} {text}" for key, text in described.items()]
    return "\n".join([USAGE, "Groups (GROUP=CHOICE):", *listed, "", *KEYS, *keys])


def _named_components(config: Mapping[str, Any]) -> Iterator[Field]:
    """The fields of callbacks and loggers, below the names that they have in this configuration."""
    for role in ROLES_OF_MANY:
        for name, node in (config.get(role) or {}).items():
            if node is None:
                yield Field(f"{role}.{name}", (), f"off; {role}={name} switches it on")
            else:
                yield from fields(structs_of(role)[node["_target_"]], f"{role}.{name}.")


def _default(config: Mapping[str, Any], key: str) -> str:
    node: Any = config
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return "-"  # belongs to another choice of its group
        node = node[name]
    if node is None:
        return "null"
    text = str(node).lower() if isinstance(node, bool) else str(node).replace(" ", "")
    return text if len(text) <= 14 else f"{text[:11]}..."
