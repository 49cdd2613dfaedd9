"""What a failure is called: the cause and the cure, not the library's words."""

import errno
import os
import signal
from pathlib import Path

import pytest
import torch
from conftest import tiny_overrides

from medimg.config.compose import load
from medimg.data.dataset import ImageDataset
from medimg.errors import MedimgError, RequestError
from medimg.runs import RunFolder
from medimg.training.failures import leave_word, take_word, told
from medimg.training.job import run_job


def test_a_worker_that_dies_is_reported_as_what_it_is(
    tmp_path: Path, session_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by the kernel when memory runs out; in a process of its own, as torch raises in a signal handler."""

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(ImageDataset, "__getitems__", die)
    config = load([*tiny_overrides(tmp_path, session_cache), "data.num_workers=1", "data.cache=none"])
    folder = RunFolder(tmp_path / "run")
    child = os.fork()
    if child == 0:
        try:
            run_job(config, folder, in_sweep=False)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert folder.info()["status"] == "failed"
    said = folder.error_file.read_text()
    assert said.startswith("a process that loads images")
    assert "data.num_workers" in said


@pytest.mark.parametrize(
    "message",
    [
        "DataLoader worker (pid 17) is killed by signal: Killed. ",
        "DataLoader worker (pid 17) is killed by signal: Bus error. It is possible that ...",
        "DataLoader worker (pid(s) 17, 18) exited unexpectedly",
    ],
)
def test_all_forms_of_the_message(message: str, tmp_path: Path) -> None:
    assert "pid 17" in str(told(RuntimeError(message), RunFolder(tmp_path)))


def test_a_full_disk_is_found_behind_other_errors(tmp_path: Path) -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            torch.zeros(1).reshape(2)  # as torch.save does, which fails once more on the way out
    except RuntimeError as error:
        assert "the disk is full" in str(told(error, RunFolder(tmp_path)))


def test_ours_are_told_as_they_are_and_others_by_their_type(tmp_path: Path) -> None:
    own = RequestError("data.root: no")
    assert told(own, RunFolder(tmp_path)) is own
    assert str(told(KeyError("x"), RunFolder(tmp_path))).startswith("KeyError: 'x'\n  the traceback is in")


def test_the_first_process_tells_what_ended_a_helper(tmp_path: Path) -> None:
    helper, first = RunFolder(tmp_path, writable=False), RunFolder(tmp_path)
    assert take_word(first) is None
    leave_word(RequestError("image.png: broken"), helper)
    found = take_word(first)
    assert isinstance(found, RequestError)
    assert str(found) == "image.png: broken"
    assert take_word(first) is None
    leave_word(MedimgError("out of memory"), helper)
    assert take_word(helper) is None
    assert type(take_word(first)) is MedimgError
