"""`medimg cache`: what is kept in the cache folder, and emptying it."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from medimg.commands.keys import described, read_keys
from medimg.commands.options import overrides_only
from medimg.config.base import Node
from medimg.config.data import DataConfig
from medimg.data.cache.contents import HELD, Held, Part, clear, contents, kinds_described
from medimg.data.cache.entries import KINDS, default_cache, gigabytes
from medimg.errors import RequestError
from medimg.reporting.tables import amount, terminal_table
from medimg.terminal import show

USAGE = """medimg cache: what is computed once and kept, and how much room it takes.

  medimg cache
  medimg cache clear=true
  medimg cache clear=true kind=features

{keys}

Kinds:
{kinds}

Nothing in it goes stale, and all of it is made again where it is missing: clearing costs time and loses no result.
Runs that are at work go on. Files that medimg did not make stay.
"""


class _Caches(Node, frozen=True, kw_only=True):
    """The key paths.cache."""

    cache: Annotated[str | None, Meta(description="the cache folder (MEDIMG_CACHE, or ~/.cache/medimg)")] = None


class _Request(Node, frozen=True, kw_only=True):
    """What can be given."""

    clear: Annotated[bool, Meta(description="true: remove what is kept (false)")] = False
    kind: Annotated[Held | None, Meta(description=f"only this: {', '.join(HELD)} (all)")] = None
    paths: _Caches = _Caches()


def main(arguments: Sequence[str]) -> int:
    """Lists what is kept, or removes it and says how much that was."""
    overrides = overrides_only("cache", arguments)
    if overrides is None:
        print(USAGE.format(keys=described(_Request), kinds=kinds_described()))
        return 0
    request, _ = read_keys("cache", overrides, _Request)
    given = request.paths.cache
    folder = default_cache() if given is None else Path(given).expanduser()
    kinds = HELD if request.kind is None else (request.kind,)
    if not folder.exists():
        show(f"{folder}: there is no such folder yet, so nothing is kept")
        return 0
    if not folder.is_dir():
        raise RequestError(f"{folder} is no folder\n  paths.cache=DIR, or MEDIMG_CACHE")
    show(_cleared(folder, kinds) if request.clear else _listed(folder, kinds))
    return 0


def _listed(folder: Path, kinds: Sequence[Held]) -> str:
    everything = contents(folder)
    parts = [part for part in everything if part.kind in kinds]
    one = kinds[0] if len(kinds) == 1 else None
    if not parts:
        return f"{folder}: nothing is kept" + (f" of {one}" if one else "")
    table = terminal_table(("kind", "number", "each", "on disk", "last used", "of what"), list(map(_row, parts)))
    limit = gigabytes(_default_limit() * 1e9)
    tables = (
        f"images and features: {gigabytes(_size(everything, KINDS))} of {limit} "
        "(data.cache_limit, unless a run has its own)"
    )
    size = gigabytes(_size(parts))
    rest = (
        f"{one} in all: {size}; medimg cache clear=true kind={one} removes them"
        if one
        else (f"in all: {size}; medimg cache clear=true empties it")
    )
    return f"{folder}\n\n{table}\n\n{tables}\n{rest}"


def _default_limit() -> float:
    """The gigabytes of data.cache_limit."""
    (limit,) = (field.default for field in msgspec.structs.fields(DataConfig) if field.name == "cache_limit")
    return float(limit)


def _cleared(folder: Path, kinds: Sequence[Held]) -> str:
    before = _sizes(folder)
    try:
        held = clear(folder, kinds)
    except PermissionError as error:
        raise RequestError(
            f"{folder} cannot be emptied: another user owns what is kept there ({error.strerror})\n"
            "  its owner can empty it; paths.cache=DIR or MEDIMG_CACHE names another cache"
        ) from error
    after = _sizes(folder)
    freed = {kind: before[kind] - after[kind] for kind in kinds if after[kind] < before[kind]}
    what = f"{gigabytes(sum(freed.values()))} freed ({', '.join(sorted(freed))})" if freed else "nothing is removed"
    stays = "".join(f"\n{path} stays: a process that is running reads from it" for path in held)
    return f"{folder}: {what}{stays}"


def _sizes(folder: Path) -> dict[Held, int]:
    parts = contents(folder)
    return {kind: _size(parts, [kind]) for kind in HELD}


def _row(part: Part) -> tuple[str, ...]:
    number = "" if part.rows is None else amount(part.rows)
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(part.used))
    return part.kind, number, " x ".join(map(str, part.shape)), gigabytes(part.size), used, part.of


def _size(parts: Sequence[Part], kinds: Sequence[Held] = HELD) -> int:
    return sum(part.size for part in parts if part.kind in kinds)
