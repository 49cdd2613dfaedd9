"""Forks a process for a job: it dies with its parent, talks to it through pipes, and leaves nothing behind."""

import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from medimg.errors import Interrupted
from medimg.training.interrupts import SIGNALS

_PR_SET_PDEATHSIG = 1  # of Linux's prctl


@dataclass(frozen=True)
class Child:
    """A forked process.

    Attributes:
        pid: its number, and that of its process group, which its own helpers share.
        output: what it prints, to be read from this descriptor.
        result: the pickled result of its work, to be read from this one; empty where it did not come to its end.
    """

    pid: int
    output: int
    result: int


def fork(work: Callable[[], Any], close: Iterable[int] = ()) -> Child:
    """Runs `work` in a forked process.

    The calling process must not have computed with torch: threads do not survive a fork, and the child would wait for
    them.

    Args:
        work: its result has to be picklable.
        close: descriptors that are no business of the child's.
    """
    output, output_end = os.pipe()
    result, result_end = os.pipe()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # none may meet a handler of ours in the child
    try:
        pid = os.fork()
        if pid == 0:
            _be_child(parent, work, output_end, result_end, (*close, output, result))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(output_end)
    os.close(result_end)
    for descriptor in (output, result):
        os.set_blocking(descriptor, False)
    return Child(pid, output, result)


def _be_child(parent: int, work: Callable[[], Any], output: int, result: int, close: Iterable[int]) -> NoReturn:
    code = 1
    try:
        _settle(parent, output, close)
        value = pickle.dumps(work())
        while value:
            value = value[os.write(result, value) :]
        code = 0
    except Interrupted as interrupted:
        code = interrupted.exit_code
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        _leave(code)


def _settle(parent: int, output: int, close: Iterable[int]) -> None:
    """Makes a process of its own out of a copy of the parent."""
    signal.set_wakeup_fd(-1)
    for number in (*SIGNALS, signal.SIGCHLD):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.setpgrp()  # Ctrl-C reaches the parent alone, which passes it on
    _die_with(parent)
    for descriptor in close:
        os.close(descriptor)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _die_with(parent: int) -> None:
    """Asks for a SIGTERM when the parent ends, however it ends: the job saves and ends as well."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it has ended before we asked
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _leave(code: int) -> NoReturn:
    """Ends the process without what the parent has registered for its own end."""
    try:
        for worker in multiprocessing.active_children():
            worker.terminate()
            worker.join()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
