"""Signals that end a run: what Ctrl-C and cluster managers send."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from medimg.errors import Interrupted

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
_SAME = 2.0  # seconds


class Interrupts:
    """What `interruptible` makes of signals. In `deferred` parts the first one is noted, to be acted on when it suits.

    A second signal is not noted but acted on at once: who sends it does not want to wait. One that follows within two
    seconds is taken for the first: a scheduler signals all processes of a job, and a sweep passes its own on.
    """

    def __init__(self) -> None:
        self.noted: int | None = None
        self._noted_at = 0.0
        self._deferring = False

    def handle(self, number: int) -> None:
        """Raises Interrupted, or notes the signal."""
        if self._deferring and self.noted is None:
            self.noted, self._noted_at = number, time.monotonic()
            return
        if self._deferring and time.monotonic() - self._noted_at < _SAME:
            return
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within it, the first signal is noted; one that nobody acted on is raised at the end."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False
        if self.noted is not None:
            self.handle(self.noted)


@contextmanager
def interruptible() -> Iterator[Interrupts]:
    """Within it, SIGINT, SIGTERM and SIGUSR1 raise Interrupted, once, in this process alone.

    Python hands signals to the main thread; in another one nothing is changed.
    """
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    owner = os.getpid()

    def handle(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:  # a worker inherits the handler; it ends when its owner does
            interrupts.handle(number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
