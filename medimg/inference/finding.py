"""Which folder a user means by `run=`: a run's or an ensemble's; nothing heavy is loaded."""

from pathlib import Path

from medimg.runs import find_run
from medimg.runs.folder import ENSEMBLE


def find_model(run: str, runs: Path) -> Path:
    """The absolute folder of a run or an ensemble, given as a path or as `latest`.

    Raises:
        RequestError: there is no such folder, or it holds neither.
    """
    folder = Path(run).expanduser()
    return folder.resolve() if (folder / ENSEMBLE).is_file() else find_run(run, runs).path
