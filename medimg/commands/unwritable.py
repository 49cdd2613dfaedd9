"""What is said where a command cannot write where it has to: the folder, and what to do."""

import errno
import os
from pathlib import Path

from medimg.errors import RequestError

_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_OF_A_RUN = "results go into the run folder: copy it (cp -r) to where you can write, and give the copy as run="
_CURES = {
    "train": "paths.runs=DIR, a folder of your own",
    "check": "paths.runs=DIR, a folder of your own",
    "ensemble": "paths.runs=DIR, a folder of your own",
    "leaderboard": "output=DIR, a folder of your own",
    "export": "output=FILE, in a folder of your own",
    "predict": "output=FILE, in a folder of your own",
    "evaluate": _OF_A_RUN,
    "resume": _OF_A_RUN,
}


def refused(command: str, error: OSError) -> RequestError:
    """The error of the system, as the user of a command gets it.

    Args:
        command: its name.
        error: names a file of ours where something cannot be written, or the user's where it cannot be read.
    """
    folder = _unwritable(error)
    if folder is None or command not in _CURES:
        return RequestError(f"a file or folder cannot be used: {error}")
    reason = (error.strerror or str(error)).lower()
    return RequestError(f"nothing can be written into {folder} ({reason})\n  {_CURES[command]}")


def _unwritable(error: OSError) -> Path | None:
    """The folder that stands in the way; None where it was something else, such as a file that cannot be read."""
    if error.errno not in _REFUSED or not isinstance(error.filename, str):
        return None
    file = Path(error.filename).absolute()
    folder = next(place for place in file.parents if os.path.isdir(place))  # noqa: PTH112 - never raises
    readable = os.access(folder, os.R_OK | os.X_OK) and (os.access(file, os.R_OK) or not os.path.lexists(file))
    return folder if readable and not os.access(folder, os.W_OK) else None
