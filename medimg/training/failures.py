"""What a failure of the work is called when it is told to the user."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator

from medimg.errors import MedimgError, RequestError
from medimg.files import write_json
from medimg.runs import RunFolder

_FULL = {errno.ENOSPC, errno.EDQUOT}


def told(error: Exception, folder: RunFolder) -> MedimgError:
    """The error as the user gets it: our own as they are, others by their type, with the cure where one is known."""
    if is_full_disk(error):
        free = shutil.disk_usage(folder.path).free / 1e6
        kept = "the last good checkpoint is kept" if folder.last.is_file() else "there is no checkpoint yet"
        return MedimgError(
            f"the disk is full: {folder.shown} could not be written ({free:.0f} MB free); {kept}\n"
            f"  make room, and medimg resume run={folder.shown} goes on"
        )
    if isinstance(error, MedimgError):
        return error
    if dead := dead_loader(error):
        return MedimgError(
            f"{dead}\n"
            f"  fewer data.num_workers, or 0, need less; medimg resume run={folder.shown} data.num_workers=0 goes on"
        )
    return MedimgError(f"{type(error).__name__}: {error}\n  the traceback is in {folder.error_file}")


def is_full_disk(error: Exception) -> bool:
    """Whether it came of a disk without room."""
    return any(isinstance(cause, OSError) and cause.errno in _FULL for cause in _causes(error))


def dead_loader(error: Exception) -> str | None:
    """What is to be said of a process that loaded images and died; None where the error is another one."""
    dead = re.search(r"DataLoader worker \(pid\(?s?\)? ([\d, ]+)\)(?: is killed by signal: ([^.]+))?", str(error))
    if not dead:
        return None
    how = f"was ended by the signal {dead[2].strip()!r}" if dead[2] else "ended unexpectedly"
    return (
        f"a process that loads images (pid {dead[1]}) {how}\n"
        "  mostly there was too little memory (Killed) or shared memory (Bus error, as in containers: --shm-size)"
    )


def leave_word(error: MedimgError, folder: RunFolder) -> None:
    """In a helper process of distributed training: what ended it, for the first process to tell."""
    write_json(folder.path / f".error-{os.getpid()}.json", {"exit_code": error.exit_code, "message": str(error)})


def take_word(folder: RunFolder) -> MedimgError | None:
    """In the first process: what ended a helper, where one left word; else a lost connection is all that is seen."""
    if not folder.writable:
        return None
    left = []
    for file in sorted(folder.path.glob(".error-*.json")):
        left.append(json.loads(file.read_text(encoding="utf-8")))
        file.unlink()
    if not left:
        return None
    kind = RequestError if left[0]["exit_code"] == RequestError.exit_code else MedimgError
    return kind(str(left[0]["message"]))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
