"""What the schema says of a dotted key: its type in words, the values that it allows, and what it is for."""

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from medimg.config.base import Component, Custom
from medimg.config.training import TrainConfig


@dataclass(frozen=True)
class Field:
    """One value of the configuration: its key, the types that it may have, and its description."""

    key: str
    kinds: tuple[Any, ...]
    description: str

    def accepts(self, kind: type) -> bool:
        """Whether plain values of this Python type are among those that the field takes."""
        return kind in self.kinds

    @property
    def literals(self) -> list[Any]:
        """The words and numbers that the field takes as they are."""
        return [value for kind in self.kinds if get_origin(kind) is Literal for value in get_args(kind)]


def fields(root: type[msgspec.Struct] = TrainConfig, prefix: str = "") -> Iterator[Field]:
    """All values below a struct, depth first; the members of a union of structs follow each other."""
    for name, hint in get_type_hints(root, include_extras=True).items():
        kinds, description = _flatten(hint)
        structs = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, msgspec.Struct)]
        plain = tuple(kind for kind in kinds if kind not in structs)
        if not structs:
            yield Field(prefix + name, plain, description)
        for struct in structs:
            if struct is not Custom:  # its arguments stand beside `_target_`, under names that nobody here knows
                yield from fields(struct, f"{prefix}{name}.")


def find(key: str, root: type[msgspec.Struct] = TrainConfig) -> list[Field]:
    """The fields of this dotted key; several where the members of a union share it, none where it is unknown."""
    return [field for field in fields(root) if field.key == key]


def structs_of(role: str) -> dict[str, type[Component]]:
    """The structs of a group by their `_target_`: what it admits without `allow`."""
    members = [kind for kind in _flatten(union(role))[0] if isinstance(kind, type) and issubclass(kind, Component)]
    return {str(member.__struct_config__.tag): member for member in members if member is not Custom}


def union(role: str) -> Any:
    """The type of a group's component: the union of its structs. For a group of many, the type of each."""
    hint = get_type_hints(TrainConfig, include_extras=True)[role]
    return get_args(hint)[1] if get_origin(hint) is dict else hint


def _flatten(hint: Any) -> tuple[tuple[Any, ...], str]:
    """The members of a type without its annotations, and its description where it has one."""
    description = ""
    if get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        description = next((note.description for note in notes if isinstance(note, Meta) and note.description), "")
    if get_origin(hint) in {Union, types.UnionType}:
        parts = [_flatten(part) for part in get_args(hint)]
        return tuple(kind for kinds, _ in parts for kind in kinds), description or next(
            (text for _, text in parts if text), ""
        )
    return (hint,), description
