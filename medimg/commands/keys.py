"""A command's own keys as a struct: read from KEY=VALUE, checked like a configuration, and listed in its help."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from medimg.config.base import Node
from medimg.config.kinds import Field, fields
from medimg.errors import RequestError, suggestion

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

Request = TypeVar("Request", bound=Node)
Run = Annotated[str, Meta(description="a run folder, or latest: the run below paths.runs that started last")]


class Runs(Node, frozen=True, kw_only=True):
    """The key paths.runs."""

    runs: Annotated[str, Meta(description="where latest looks (runs)")] = "runs"

    @property
    def folder(self) -> Path:
        """As a path."""
        return Path(self.runs).expanduser()


def read_keys(
    command: str, overrides: Sequence[str], request: type[Request], of_the_run: Collection[str] = ()
) -> tuple[Request, dict[str, Any]]:
    """What a command is asked for, and the values of the keys of a run's configuration that were given besides.

    A list of texts is taken as it stands where nothing in it is quoted: in `dir=[2024_01]` that is no number.

    Args:
        command: for messages.
        overrides: `KEY=VALUE`, in Hydra's grammar.
        request: the command's own keys, with their types and descriptions.
        of_the_run: beginnings of keys of a run's configuration that the command takes as well, such as `data.`. Their
            values are not checked here.

    Raises:
        RequestError: a key that the command does not have, a needed one that is missing, or a value that does not fit;
            the message says what the key takes, or names the nearest.
    """
    own = {field.key: field for field in fields(request)}
    values = _values(command, overrides, own, of_the_run)
    mine = {key: values.pop(key) for key in own if key in values}
    for key, field in own.items():
        if _is_empty(mine.get(key)):
            raise RequestError(f"{key}= names nothing\n  {key}: {field.description}")
    for needed in msgspec.structs.fields(request):
        if needed.required and mine.get(needed.name) is None:
            raise RequestError(f"{needed.name}=... is needed: {own[needed.name].description}")
    return _converted(mine, request), values


def described(request: type[Node]) -> str:
    """The lines of a command's help that say what its own keys are."""
    return "\n".join(f"  {field.key:18} {field.description}" for field in fields(request))


def refuse_sweep(command: str, override: "Override", cure: str = "") -> None:
    """Raises RequestError where several values are given, as only `medimg train` tries out."""
    if override.is_sweep_override():
        cure = cure or "\n  a value with commas is quoted twice"
        raise RequestError(f"{override.input_line}: {command} takes one value{cure}")


def _values(
    command: str, overrides: Sequence[str], own: Mapping[str, Field], of_the_run: Collection[str]
) -> dict[str, Any]:
    from medimg.config.compose import parse
    from medimg.config.quoting import quoted

    several = {key for key, field in own.items() if list[str] in field.kinds}
    lists = [line for line in overrides if line.partition("=[")[0] in several and "=[" in line]
    values: dict[str, Any] = {line.partition("=")[0]: _listed(line) for line in lists}
    text = [key for key, field in own.items() if field.accepts(str)]
    for override in parse(quoted([line for line in overrides if line not in lists], text=text)):
        key = override.key_or_group
        if key not in own and not _is_of_a_run(key, of_the_run):
            raise RequestError(_unknown(command, key, own, of_the_run))
        refuse_sweep(command, override, f", or several as {key}=[a,b]" if key in several else "")
        values[key] = override.value()
    return values


def _is_of_a_run(key: str, beginnings: Collection[str]) -> bool:
    """Whether a configuration may have this key, or a group of this name, which is refused later and better."""
    from medimg.config.check import ROLES_OF_MANY
    from medimg.config.compare import is_below

    known = is_below(key, ROLES_OF_MANY) or any(is_below(field.key, [key]) for field in fields())
    return known and key.startswith(tuple(beginnings))


def _unknown(command: str, key: str, own: Collection[str], of_the_run: Collection[str]) -> str:
    known = [*own, *(field.key for field in fields() if field.key.startswith(tuple(of_the_run)))]
    besides = [
        f"{start}*" if start.endswith(".") else start or "any other key of a run's config.yaml" for start in of_the_run
    ]
    return f"{command} has no key {key!r}. {suggestion(key, known)}\n  keys: {', '.join([*own, *besides])}"


def _listed(line: str) -> list[str]:
    """The texts of `KEY=[a,b]`."""
    key, _, value = line.partition("=")
    if not value.endswith("]"):
        raise RequestError(f"{line}: the list has no end\n  {key}=[a,b]")
    inside = value.removeprefix("[").removesuffix("]")
    if '"' not in inside and "'" not in inside:
        return [text.strip() for text in inside.split(",")]
    from medimg.config.compose import parse

    parsed: Any = parse([line])[0].value()
    return [str(text) for text in parsed]


def _is_empty(value: Any) -> bool:
    return value == "" or (isinstance(value, list) and not all(value or [""]))


def _converted(values: Mapping[str, Any], request: type[Request]) -> Request:
    from medimg.config.wording import explain

    nested: dict[str, Any] = {}
    for key, value in values.items():
        *path, last = key.split(".")
        node = nested
        for name in path:
            node = node.setdefault(name, {})
        node[last] = value
    try:
        return msgspec.convert(nested, request)
    except msgspec.ValidationError as error:
        raise RequestError(explain(str(error), nested, root=request)) from None
