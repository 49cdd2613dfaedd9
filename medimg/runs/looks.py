"""How often a test split was looked at: each look at it makes the next choice a little less honest."""

from pathlib import Path
from typing import Any

from medimg.errors import RequestError
from medimg.runs.folder import RunFolder
from medimg.runs.records import find_runs

_PARTS = ("folds", "fold", "split_seed")  # what tells the held-out parts of the same images apart


def looks_at_test(run: RunFolder) -> int | None:
    """How many runs have scores of the test split that this run has, itself included; None where nobody can know.

    Looked at are the runs below the `paths.runs` that this one was written to. The same test split is that of the same
    images, and with folds the same part of them: how validation was cut from the rest does not matter.
    """
    info = run.info()
    if info.get("images_fingerprint") is None or not run.config_file.is_file():
        return None
    config = run.read_config()
    home = Path(str((config.get("paths") or {}).get("runs")))
    if not home.is_dir() or not run.path.resolve().is_relative_to(home.resolve()):
        return None
    held_out = _held_out(config)
    return sum(_has_looked(other, info["images_fingerprint"], held_out) for other in find_runs([home]))


def _has_looked(other: RunFolder, images: str, held_out: tuple[Any, ...] | None) -> bool:
    try:
        return (
            other.info().get("images_fingerprint") == images
            and "test" in other.results()
            and _held_out(other.read_config()) == held_out
        )
    except RequestError:
        return False


def _held_out(config: dict[str, Any]) -> tuple[Any, ...] | None:
    data = config.get("data") or {}
    return tuple(data.get(name) for name in _PARTS) if data.get("folds") is not None else None
