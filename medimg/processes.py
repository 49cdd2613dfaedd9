"""Processes that do not outlive the one that started them."""

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1  # of Linux's prctl


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """To be called in a new process: when its parent ends, however that ends, this process gets a signal.

    Args:
        parent: who started this process, as the parent knew itself, so that one that has ended already is noticed.
        number: the signal.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    else:
        threading.Thread(target=_watch, args=(parent, number), daemon=True).start()
    if os.getppid() != parent:  # it ended before we asked
        os._exit(1)


def _watch(parent: int, number: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), number)
