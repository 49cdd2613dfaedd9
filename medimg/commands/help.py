"""The text of `medimg train --help`: groups, their choices, and every key with its meaning and default."""

from collections.abc import Iterable, Mapping
from textwrap import fill
from typing import Any

from medimg.config.kinds import fields

USAGE = """medimg train: trains a model and evaluates its best epoch. Without arguments, on synthetic images.

  medimg train data=covid data.root=DIR model=resnet18 model.freeze=true
  medimg train -m model=resnet18,vgg16 seed=0,1,2     a sweep: every combination

  -m, --multirun      a sweep over comma-separated values
  --cfg job|hydra|all print the configuration and stop
  --resolve           with --cfg: interpolations replaced by their values
  --package KEY       with --cfg: only this part
  -h, --help          this text
"""


def help_text(groups: Mapping[str, Iterable[str]], config: Mapping[str, Any]) -> str:
    """The whole text.

    Args:
        groups: the choices of each group.
        config: the composed configuration, for the defaults.
    """
    listed = [
        fill(f"{name}={'|'.join(choices)}", 100, initial_indent="  ", subsequent_indent="    ", break_long_words=True)
        for name, choices in groups.items()
    ]
    described = {field.key: field.description for field in reversed(list(fields())) if field.description}
    keys = [f"  {key:34} {_default(config, key):14} {text}" for key, text in sorted(described.items(), key=_place)]
    return "\n".join(
        [USAGE, "Groups (GROUP=CHOICE):", *listed, "", "Keys (KEY=VALUE), their defaults and meaning:", *keys]
    )


def _place(item: tuple[str, str]) -> tuple[int, int]:
    """The order of the schema, plain keys first."""
    order = [field.key for field in fields()]
    return (item[0].count("."), order.index(item[0]))


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
