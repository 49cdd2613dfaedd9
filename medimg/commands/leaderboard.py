"""`medimg leaderboard dir=DIR`: the runs below a folder, ranked by validation."""

from collections.abc import Sequence
from pathlib import Path

from medimg.commands.options import listed, overrides_only
from medimg.errors import RequestError, suggestion
from medimg.runs import RunFolder
from medimg.runs.records import find_runs
from medimg.terminal import show

KEYS = ("dir", "output")

USAGE = """medimg leaderboard: ranks runs by validation, with mean and spread over seeds and folds.

  medimg leaderboard
  medimg leaderboard dir=runs/STUDY
  medimg leaderboard dir=[runs/STUDY,runs/OTHER] output=tables

  dir                a folder with runs at any depth, or several (runs)
  output             where leaderboard.csv, .md, .png and report.html go (dir; the working directory where several)
"""


def main(arguments: Sequence[str]) -> int:
    """Finds the runs, writes the leaderboard and prints it."""
    overrides = overrides_only("leaderboard", arguments)
    if overrides is None:
        print(USAGE)
        return 0
    given = _given(overrides)
    folders = [Path(folder).expanduser() for folder in given.get("dir", ["runs"])]
    output = Path(given["output"][0]).expanduser() if "output" in given else folders[0] if len(folders) == 1 else Path()

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


def _given(overrides: Sequence[str]) -> dict[str, list[str]]:
    """The values of each key, as a list of paths."""
    from medimg.config.compose import parse
    from medimg.config.quoting import quoted

    lists = [line for line in overrides if line.startswith("dir=[")]
    given = {"dir": [path for line in lists for path in listed(line)]} if lists else {}
    for override in parse(quoted([line for line in overrides if line not in lists], text=KEYS)):
        key = override.key_or_group
        if key not in KEYS:
            raise RequestError(f"leaderboard has no key {key!r}. {suggestion(key, KEYS)}\n  keys: {', '.join(KEYS)}")
        if override.is_sweep_override():
            raise RequestError(f"{override.input_line}: leaderboard takes one value, or several folders as dir=[a,b]")
        given[key] = [str(override.value() or "")]
    for key, paths in given.items():
        if not paths or not all(paths):
            raise RequestError(f"{key}= names no folder\n  dir=runs/STUDY, or several: dir=[runs/STUDY,runs/OTHER]")
    return given
