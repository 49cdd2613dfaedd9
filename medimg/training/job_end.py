"""How a job of a sweep ended, where its process can no longer say so itself."""

import signal
from collections.abc import Sequence

from medimg.config.check import check
from medimg.errors import MedimgError
from medimg.files import write_text
from medimg.runs import RunFolder, provenance
from medimg.runs.lock import is_locked
from medimg.training.job import best_value


def has_failed(folder: RunFolder) -> bool:
    """Whether a job failed, or was refused since its folder holds another run."""
    return folder.error_file.is_file() or folder.info().get("status") == "failed"


def settle(folder: RunFolder, code: int, asked_to_end: Sequence[int]) -> float | None:
    """Writes what a process that ended without a result could not, and returns the job's value where it has one.

    Args:
        folder: of the job.
        code: its exit code; negative: the number of the signal that ended it.
        asked_to_end: the signals that were passed on to it.
    """
    status = folder.info().get("status")
    if code == 0 and status == "completed":
        return _value(folder)
    if status == "failed" or is_locked(folder.path):
        return None
    number = -code if code < 0 else code - 128
    if number in asked_to_end or status == "interrupted":
        if status == "running":
            folder.update(status="interrupted", finished=provenance.now())
        return None
    if not folder.error_file.is_file():
        write_text(folder.error_file, f"{_cause(code)}\n")
    if status != "completed":
        folder.update(status="failed", finished=provenance.now())
    return None


def first_line_of_error(folder: RunFolder) -> str:
    """What went wrong in one line: of a traceback, the line that names the error, without its type."""
    try:
        lines = folder.error_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    frames = [number for number, line in enumerate(lines) if line.startswith("  File ")]
    last = [line for line in lines[frames[-1] + 1 if frames else 0 :] if line.strip() and not line.startswith(" ")]
    found = last[0] if last else ""
    kind, _, message = found.partition(": ")
    return message if message and kind.rpartition(".")[2] in {"MedimgError", "RequestError"} else found


def _cause(code: int) -> str:
    if code >= 0:
        return f"the process of the job ended with exit code {code}, without a result"
    name = signal.Signals(-code).name
    memory = "; out of memory?" if -code == signal.SIGKILL else ""
    return f"the process of the job was ended by {name}{memory}"


def _value(folder: RunFolder) -> float | None:
    try:
        recorded = folder.read_config()
        return best_value(check(recorded, recorded.get("allow")), folder)
    except MedimgError:
        return None


def lines_of_failures(folders: Sequence[RunFolder]) -> list[str]:
    """A line for each job that has no result, with the reason and where more is told."""
    said = []
    for folder in folders:
        if is_locked(folder.path):
            said.append(f"{folder.shown}: another process is running it right now")
        elif has_failed(folder):
            said.append(f"{folder.shown}/{folder.error_file.name}: {first_line_of_error(folder)}")
        elif (status := folder.info().get("status")) != "completed":
            said.append(f"{folder.shown}: {'not started' if status is None else _unfinished(status)}")
    return said


def _unfinished(status: str) -> str:
    return "interrupted" if status == "interrupted" else "its process ended on the way"
