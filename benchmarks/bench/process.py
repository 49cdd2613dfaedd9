"""Runs a command as a whole process and says what it took: time, processor time and memory, children included."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]

# what the processes that are measured are told by the environment
STARTED = "MEDIMG_BENCH_STARTED"  # time.monotonic() when the process was started; the clock is the machine's
CLOCK = "MEDIMG_BENCH_CLOCK"  # the file that clock.py writes

_EVERY = 1.0  # seconds between two looks at the memory, which costs the machine some milliseconds


class BenchError(Exception):
    """A command that is measured has failed, so there is nothing to compare."""


@dataclass(frozen=True)
class Measured:
    """One run of a command.

    `peak_mb` is the most resident memory that one of its processes had, by the operating system's account. `tree_mb` is
    the most that all together were seen to have, looked at once a second, memory that they share counted once.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    tree_mb: float
    output: str


def run(command: Sequence[str], log: Path, more: Mapping[str, str] | None = None) -> Measured:
    """Runs a command to its end.

    Args:
        command: the program and its arguments.
        log: where its messages go, for whoever wants to know what happened; the folder is made.
        more: for its environment.

    Raises:
        BenchError: it ended with another code than 0; the message has the end of what it said.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    output = log.with_suffix(".out")
    with output.open("wb") as out, log.open("wb") as err:
        start = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - our own commands
            command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, cwd=ROOT, env=_environment(start, more or {})
        )
        watch = _Watch(process.pid)
        watch.start()
        try:
            # this process is small: where it were large, the children would seem to have had its memory
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        finally:
            wall = time.monotonic() - start
            watch.end()
    process.returncode = os.waitstatus_to_exitcode(status)
    text = output.read_text(encoding="utf-8", errors="replace")
    if process.returncode:
        said = (text + log.read_text(encoding="utf-8", errors="replace")).splitlines()[-15:]
        raise BenchError(f"exit code {process.returncode}: {' '.join(command)}\n" + "\n".join(said))
    peak = usage.ru_maxrss / 1024
    return Measured(wall, usage.ru_utime + usage.ru_stime, peak, max(watch.peak_mb, peak), text)


def _environment(start: float, more: Mapping[str, str]) -> dict[str, str]:
    """This one's, with this checkout's medimg first, and with compiled modules kept, as is usual."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return kept | {"PYTHONPATH": path, STARTED: repr(start)} | dict(more)


class _Watch(threading.Thread):
    """Looks at the memory of a process and of all below it until told to end."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self._pid = pid
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(_EVERY):
            self.peak_mb = max(self.peak_mb, _tree_mb(self._pid))

    def end(self) -> None:
        """Returns when it has ended."""
        self._over.set()
        self.join()


def _tree_mb(pid: int) -> float:
    """What the processes have together; one that ends meanwhile counts nothing."""
    try:
        top = psutil.Process(pid)
        processes = [top, *top.children(recursive=True)]
    except psutil.Error:
        return 0.0
    return sum(map(_own_bytes, processes)) / 2**20


def _own_bytes(process: psutil.Process) -> float:
    try:
        found = process.memory_full_info()
    except psutil.Error:
        return 0.0
    return float(getattr(found, "pss", found.rss))  # a proportional share of what is shared, where the system tells
