"""How often a test split was looked at: each look at it makes the next choice a little less honest."""

import json
from pathlib import Path
from typing import Any

from medimg.errors import RequestError
from medimg.runs.folder import ENSEMBLE, RunFolder
from medimg.runs.records import find_ensembles, find_runs

_PARTS = ("folds", "fold", "split_seed")  # what tells the held-out parts of the same images apart


def looks_at_test(run: RunFolder) -> int | None:
    """How many runs and ensembles have scores of the test split that this run has, itself included.

    Looked at are those below the `paths.runs` that this one was written to. The same test split is that of the same
    images, and with folds the same part of them: how validation was cut from the rest does not matter. An ensemble has
    looked at the test splits of all its members. None where nobody can know.
    """
    home, part = _home(run), _test_part(run)
    if home is None or part is None:
        return None
    runs = sum(_has_scores(other) and _test_part(other) == part for other in find_runs([home]))
    return runs + sum(part in parts for parts in _parts_of_ensembles(home))


def was_looked_at(run: RunFolder) -> bool:
    """Whether the run itself, or an ensemble that it is a member of or that shares its test split, has scores of it."""
    if _has_scores(run):
        return True
    home, part = _home(run), _test_part(run)
    return home is not None and part is not None and any(part in parts for parts in _parts_of_ensembles(home))


def _home(run: RunFolder) -> Path | None:
    """The folder of all runs, where this one is still in it."""
    try:
        home = Path(str((run.read_config().get("paths") or {}).get("runs")))
    except RequestError:
        return None
    return home if home.is_dir() and run.path.resolve().is_relative_to(home.resolve()) else None


def _test_part(run: RunFolder) -> tuple[Any, ...] | None:
    """Equal for runs of the same test split."""
    try:
        images, data = run.info().get("images_fingerprint"), run.read_config().get("data") or {}
    except RequestError:
        return None
    held_out = [data.get(name) for name in _PARTS] if data.get("folds") is not None else []
    return None if images is None else (images, *held_out)


def _has_scores(folder: RunFolder) -> bool:
    try:
        return "test" in folder.results()
    except RequestError:
        return False


def _parts_of_ensembles(home: Path) -> list[set[tuple[Any, ...]]]:
    """The test splits that each ensemble has scores of."""
    return [_parts_of_members(each) for each in find_ensembles([home]) if _has_scores(each)]


def _parts_of_members(ensemble: RunFolder) -> set[tuple[Any, ...]]:
    try:
        written = json.loads((ensemble.path / ENSEMBLE).read_text(encoding="utf-8"))["members"]
        members = [RunFolder((ensemble.path / member["run"]).resolve()) for member in written]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {part for part in map(_test_part, members) if part is not None}
