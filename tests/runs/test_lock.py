"""The lock of a run folder: one process at a time, and none after its death."""

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from medimg.errors import RequestError
from medimg.runs import lock
from medimg.runs.lock import is_abandoned, is_locked, locked

fork = multiprocessing.get_context("fork")


def hold(folder: Path, ready: Connection) -> None:
    with locked(folder):
        ready.send(os.getpid())
        signal.pause()


def start(folder: Path) -> "multiprocessing.process.BaseProcess":
    ours, theirs = fork.Pipe()
    process = fork.Process(target=hold, args=(folder, theirs))
    process.start()
    assert ours.recv() == process.pid
    return process


def test_another_process_is_kept_out_until_the_owner_dies(tmp_path: Path) -> None:
    owner = start(tmp_path / "run")
    assert is_locked(tmp_path / "run")
    with (
        pytest.raises(RequestError, match=rf"written by another process: process {owner.pid} on "),
        locked(tmp_path / "run"),
    ):
        pass
    assert not is_abandoned(tmp_path / "run")
    owner.kill()
    owner.join()
    assert not is_locked(tmp_path / "run")
    assert is_abandoned(tmp_path / "run")
    with locked(tmp_path / "run"):
        pass


def test_an_orphaned_worker_does_not_hold_it(tmp_path: Path) -> None:
    """As the workers of a data loader do, which outlive a killed owner for a while."""
    with locked(tmp_path):
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
    try:
        other = start(tmp_path)
        other.kill()
        other.join()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_folder_that_is_not_there_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "none")
    assert not is_abandoned(tmp_path / "none")


def test_looking_does_not_release_the_lock_of_this_process(tmp_path: Path) -> None:
    """Closing any descriptor of the file would."""
    with locked(tmp_path):
        assert not is_locked(tmp_path)
        assert not is_abandoned(tmp_path)
        ours, theirs = fork.Pipe()
        process = fork.Process(target=look, args=(tmp_path, theirs))
        process.start()
        assert ours.recv() is True
        process.join()


def look(folder: Path, answer: Connection) -> None:
    lock._held.clear()  # as another process knows nothing of it
    answer.send(is_locked(folder))
