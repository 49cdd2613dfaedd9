"""Says in the user's keys and words what msgspec says in its own."""

import json
import re
from typing import Any

from msgspec import Struct

from medimg.config.kinds import Field, fields, find, structs_of
from medimg.config.training import TrainConfig
from medimg.errors import suggestion

_WORDS = {
    "array": "list",
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "object": "{name:value}",
}


def explain(message: str, node: Any, under: str = "", root: type[Struct] = TrainConfig) -> str:
    """What is wrong at which key, what it was, and what is allowed.

    Args:
        message: of a msgspec.ValidationError.
        node: the plain containers that were converted.
        under: the key at which they stand; nothing for the whole configuration.
        root: what describes the keys.
    """
    reason, _, path = message.partition(" - at ")
    of_a_name = path.startswith("`key` in ")
    parts = re.findall(r"\.(\w+)|\[(\d+)\]", path.removeprefix("`key` in ").strip("`"))
    value = node
    for name, index in parts:
        value = value[int(index)] if index else value[name]
    key = ".".join(filter(None, [under, *(name or index for name, index in parts)]))
    if unknown := re.match(r"Object contains unknown field `(.+)`", reason):
        return unknown_key(key, unknown.group(1), value)
    lines = [f"{key}={shown(value)}: {'its names: ' if of_a_name else ''}{_in_words(reason)}"]
    if re.match("Expected `str`, got `(int|float|bool)`", reason):
        lines.append("  for text that looks like something else, quote it twice: 'key=\"1\"'")
    for field in find(re.sub(r"\.\d+$", "", key), root)[:1]:
        lines += _about(field, value)
    return "\n".join(lines)


def unknown_key(parent: str, name: str, node: Any) -> str:
    """That a part of the configuration has no such key, which it has, and the nearest."""
    siblings = _keys_of(parent, node)
    full = f"{parent}.{name}" if parent else name
    return f"there is no key {full!r}. {suggestion(name, siblings)}\n  keys here: {', '.join(siblings)}"


def shown(value: Any) -> str:
    """A value as YAML has it."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _about(field: Field, value: Any) -> list[str]:
    lines = []
    words = [shown(word) for word in field.literals]
    if words:
        words += ["true", "false"] if field.accepts(bool) else []
        words += ["null"] if field.accepts(type(None)) else []
        lines.append(f"  allowed words: {', '.join(words)}. {suggestion(str(value), words)}".rstrip())
    return [*lines, f"  {field.key}: {field.description}"] if field.description else lines


def _keys_of(parent: str, node: Any) -> list[str]:
    """The keys that a part of the configuration has: those of its target, where it is a component."""
    target = node.get("_target_") if isinstance(node, dict) else None
    if target is not None:
        return sorted(structs_of(parent.partition(".")[0])[target].__struct_fields__)
    prefix = f"{parent}." if parent else ""
    return sorted({field.key.removeprefix(prefix).split(".")[0] for field in fields() if field.key.startswith(prefix)})


def _in_words(reason: str) -> str:
    for kind, word in _WORDS.items():  # as whole words: the user's own value may contain them
        reason = re.sub(rf"\b{kind}\b", word, reason)
    reason = reason.replace("`", "")
    reason = reason.replace("Invalid enum value", "not an allowed value:")
    return reason[0].lower() + reason[1:]
