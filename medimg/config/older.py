"""The configuration of an older run: what it did where a key did not exist yet."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from medimg.config.check import ROLES, ROLES_OF_MANY, plain
from medimg.config.kinds import structs_of
from medimg.config.training import TrainConfig, TrainerConfig

# keys whose default is another than what was done before there was the key: torch's own arithmetic, images contiguous
_THEN: dict[type[msgspec.Struct], dict[str, Any]] = {
    TrainerConfig: {"channels_last": False, "float32_matmul_precision": "highest"}
}


def completed(recorded: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded configuration with every key that it is too old to have, at what the run did without it.

    That is the default of today, but for arithmetic. What is there stays as it is, right or wrong: nothing is checked.

    Args:
        recorded: in plain containers, from config.yaml or from a checkpoint.
    """
    whole: dict[str, Any] = _filled(recorded, TrainConfig)
    for role in ROLES:
        whole |= {role: _component(whole[role], role)} if role in whole else {}
    for role in ROLES_OF_MANY:
        if isinstance(whole[role], Mapping):
            whole[role] = {name: _component(node, role) for name, node in whole[role].items()}
    return whole


def as_begun(config: TrainConfig, recorded: Mapping[str, Any]) -> TrainConfig:
    """The configuration of a run's own command, given again, with the arithmetic that the run was begun with.

    An older run computes as it did before, and the command that it was made by still stands for it.

    Args:
        config: checked.
        recorded: of the run, completed.
    """
    was, default = recorded.get("trainer"), TrainerConfig()
    older = {
        name: value
        for name, value in _THEN[TrainerConfig].items()
        if isinstance(was, Mapping)
        and was.get(name) == value
        and getattr(config.trainer, name) == getattr(default, name)
    }
    return msgspec.structs.replace(config, trainer=msgspec.structs.replace(config.trainer, **older))


def _component(node: Any, role: str) -> Any:
    """One that is the user's own has arguments that nobody here knows."""
    struct = structs_of(role).get(str(node.get("_target_"))) if isinstance(node, Mapping) else None
    return node if struct is None else _filled(node, struct)


def _filled(node: Any, struct: type[msgspec.Struct]) -> Any:
    if not isinstance(node, Mapping):
        return node
    filled = dict(node)
    for name, default in _defaults(struct).items():
        if isinstance(default, msgspec.Struct):
            filled[name] = _filled(filled.get(name, {}), type(default))
        else:
            filled.setdefault(name, plain(_THEN.get(struct, {}).get(name, default)))
    return filled


@cache
def _defaults(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """By name, of those fields that have one; never changed by who asks."""
    found = {}
    for field in msgspec.structs.fields(struct):
        if field.default is not msgspec.NODEFAULT:
            found[field.name] = field.default
        elif field.default_factory is not msgspec.NODEFAULT:
            found[field.name] = field.default_factory()
    return found
