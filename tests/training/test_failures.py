"""What a failure is called: the cause and the cure, not the library's words."""

import errno
import os
import signal
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from medimg.errors import MedimgError, RequestError
from medimg.runs import RunFolder
from medimg.training.failures import leave_word, take_word, told


class Dying(Dataset[int]):
    """Its worker is killed at the third item, as by the kernel when memory runs out."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, number: int) -> int:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


def test_a_worker_that_dies_is_reported_as_what_it_is(tmp_path: Path) -> None:
    """In a process of its own: torch's handler raises at any later moment, too."""
    said = tmp_path / "said"
    child = os.fork()
    if child == 0:
        try:
            list(DataLoader(Dying(), num_workers=1))
        except RuntimeError as error:
            said.write_text(str(told(error, RunFolder(tmp_path))))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert "a process that loads images" in said.read_text()
    assert "data.num_workers" in said.read_text()


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
