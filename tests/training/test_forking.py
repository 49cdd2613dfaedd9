"""Forked processes: what they give back, how they end, and that they do not outlive their parent."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from sweep_process import alive, wait_until

from medimg.errors import Interrupted
from medimg.training.forking import fork
from medimg.training.interrupts import SIGNALS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def outcome(work: Callable[[], Any]) -> tuple[int, str, bytes]:
    """Exit code, what was printed, and the pickled result."""
    child = fork(work)
    _, status = os.waitpid(child.pid, 0)
    read = []
    for descriptor in (child.output, child.result):
        os.set_blocking(descriptor, True)
        with os.fdopen(descriptor, "rb") as stream:
            read.append(stream.read())
    return os.waitstatus_to_exitcode(status), read[0].decode(), read[1]


def test_the_result_and_what_was_printed() -> None:
    def work() -> object:
        print("a line")
        print("another", file=sys.stderr)
        os.write(1, b"a third, past Python\n")
        return {"value": 0.5, "own group": os.getpgrp() == os.getpid(), "terminal": sys.stdout.isatty()}

    code, said, result = outcome(work)
    assert code == 0
    assert said.splitlines() == ["a line", "another", "a third, past Python"]
    assert pickle.loads(result) == {"value": 0.5, "own group": True, "terminal": False}


def test_signals_mean_what_they_mean_in_a_new_process() -> None:
    before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
    try:
        code, _, result = outcome(lambda: [signal.getsignal(number) is signal.SIG_DFL for number in SIGNALS[1:]])
        assert (code, pickle.loads(result)) == (0, [True, True])
        assert outcome(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(SIGNALS))[2] == pickle.dumps(set())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raising(error: BaseException) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "code"),
    [
        (raising(ValueError("nothing to be done")), 1),
        (raising(Interrupted(signal.SIGTERM)), 128 + signal.SIGTERM),
        (lambda: os.kill(os.getpid(), signal.SIGINT), 128 + signal.SIGINT),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -signal.SIGKILL),
        (lambda: os._exit(7), 7),
    ],
)
def test_how_it_ended(work: Callable[[], Any], code: int) -> None:
    found, said, result = outcome(work)
    assert (found, result) == (code, b"")
    assert ("ValueError: nothing to be done" in said) == (code == 1)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_it_ends_with_its_parent() -> None:
    program = (
        "import time\n"
        "from medimg.training.forking import fork\n"
        "print(fork(lambda: time.sleep(600)).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not alive(child))
