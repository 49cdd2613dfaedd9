"""What every part of the configuration is made of: strict, frozen structs and the number ranges that they use."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

PositiveInt = Annotated[int, Meta(ge=1)]
NonNegativeInt = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
NonNegative = Annotated[float, Meta(ge=0)]
UnitInterval = Annotated[float, Meta(ge=0, le=1)]
BelowOne = Annotated[float, Meta(ge=0, lt=1)]


class Node(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of the configuration: immutable, and a key that it does not have is an error."""


class Component(Node, frozen=True, kw_only=True, tag_field="_target_"):
    """A part that stands for an object to build.

    Its tag, `_target_` in YAML, is the dotted name of the class or function; its fields are the arguments.
    """


class Custom(Component, frozen=True, kw_only=True, tag="custom"):
    """A component of the user's own, admitted by `allow`: its target and arguments, which nothing here can check."""

    target: str
    arguments: dict[str, Any] = {}
