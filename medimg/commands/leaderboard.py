"""`medimg leaderboard dir=DIR`: the runs below a folder, ranked by validation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from medimg.commands.keys import described, read_keys
from medimg.commands.options import overrides_only
from medimg.config.base import Node
from medimg.errors import RequestError
from medimg.runs import RunFolder
from medimg.runs.records import find_runs
from medimg.terminal import show

USAGE = """medimg leaderboard: ranks runs by validation, with mean and spread over seeds and folds.

  medimg leaderboard
  medimg leaderboard dir=runs/STUDY
  medimg leaderboard dir=[runs/STUDY,runs/OTHER] output=tables

{keys}
"""


class _Request(Node, frozen=True, kw_only=True):
    """What can be given."""

    dir: Annotated[str | list[str], Meta(description="a folder with runs at any depth, or several (runs)")] = "runs"
    output: Annotated[
        str | None,
        Meta(description="where leaderboard.csv, .md and .png go (dir; the working directory where dir is several)"),
    ] = None


def main(arguments: Sequence[str]) -> int:
    """Finds the runs, writes the leaderboard and prints it."""
    overrides = overrides_only("leaderboard", arguments)
    if overrides is None:
        print(USAGE.format(keys=described(_Request)))
        return 0
    request, _ = read_keys("leaderboard", overrides, _Request)
    named = [request.dir] if isinstance(request.dir, str) else request.dir
    folders = [Path(folder).expanduser() for folder in named]
    default = folders[0] if len(folders) == 1 else Path()
    output = default if request.output is None else Path(request.output).expanduser()

    from medimg.reporting.leaderboard import write_leaderboard

    runs = [run for folder in folders for run in _runs(folder)]
    show(write_leaderboard(runs, output))
    files = [output / name for name in ("leaderboard.csv", "leaderboard.md", "leaderboard.png", "report.html")]
    show(f"\nWritten: {', '.join(str(file) for file in files if file.is_file())}")
    return 0


def _runs(folder: Path) -> list[RunFolder]:
    if not folder.is_dir():
        raise RequestError(f"dir={folder}: there is no such folder\n  looked in {Path.cwd()}")
    found = find_runs([folder])
    if not found:
        raise RequestError(f"dir={folder}: there is no run below it; a run folder has a run.json")
    return found
