"""A process that was told to die with its parent does so, however its parent ends."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medimg.processes import die_with

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def orphan(start: Callable[[int], None]) -> tuple[int, int]:
    """A grandchild that runs `start(parent)` and then waits; its number, and that of its parent."""
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        me = os.getpid()
        child = os.fork()
        if child == 0:
            start(me)
            os.write(write, str(os.getpid()).encode())
            signal.pause()
            os._exit(0)
        signal.pause()
        os._exit(0)
    os.close(write)
    return int(os.read(read, 20) or 0), parent


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with Path(f"/proc/{pid}/stat").open() as stream:
        return stream.read().rpartition(")")[2].split()[0] != "Z"


def wait_for_end(pid: int) -> bool:
    for _ in range(200):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_it_ends_when_its_parent_is_killed() -> None:
    child, parent = orphan(die_with)
    assert alive(child)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert wait_for_end(child)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks into /proc")
def test_it_notices_that_its_parent_has_ended_already() -> None:
    """Who starts it is gone before it asks: another process is its parent by now."""
    child = os.fork()
    if child == 0:
        die_with(os.getppid() + 1_000_000)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
