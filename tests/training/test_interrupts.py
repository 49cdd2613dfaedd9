"""Signals: they end the work once, in the process that asked for it, and leave no trace."""

import os
import signal
import threading

import pytest

from medimg.errors import Interrupted
from medimg.training import interrupts as interrupts_module
from medimg.training.interrupts import SIGNALS, interruptible


@pytest.fixture(autouse=True)
def _handlers_as_before() -> object:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_work_with_its_own_exit_code(number: int) -> None:
    with pytest.raises(Interrupted, match=signal.Signals(number).name) as caught, interruptible():
        os.kill(os.getpid(), number)
        pytest.fail("it went on")
    assert caught.value.exit_code == 128 + number


def test_it_is_no_exception_that_others_catch_by_the_way() -> None:
    with pytest.raises(Interrupted), interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Exception:
            pytest.fail("caught on the way")


def test_a_second_signal_does_not_disturb_the_end() -> None:
    ended = []
    with pytest.raises(Interrupted, match="SIGTERM"), interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            for number in SIGNALS:
                os.kill(os.getpid(), number)
            ended.append(True)
    assert ended == [True]


def test_other_errors_and_a_quiet_end_restore_the_handlers() -> None:
    with interruptible():
        assert signal.getsignal(signal.SIGTERM) not in {signal.SIG_DFL, None}
    with pytest.raises(ZeroDivisionError), interruptible():
        raise ZeroDivisionError


def test_a_worker_process_leaves_it_to_its_owner() -> None:
    """A forked process inherits the handler; the signals of a whole process group reach it too."""
    with interruptible():
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                code = 7
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


def test_in_a_thread_there_is_nothing_to_catch() -> None:
    """Python delivers signals to the main thread alone."""
    entered = []

    def work() -> None:
        with interruptible():
            entered.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [True]


def test_a_first_signal_is_noted_while_the_work_defers_it_and_raised_at_the_end() -> None:
    reached = []
    with pytest.raises(Interrupted, match="SIGTERM"), interruptible() as interrupts:
        with interrupts.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            assert interrupts.noted == signal.SIGTERM
            reached.append("end of the part")
        reached.append("after it")
    assert reached == ["end of the part"]


def test_a_second_signal_is_not_deferred_but_a_repetition_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler signals all processes, and a sweep passes its own on: that is one wish."""
    now = [100.0]
    monkeypatch.setattr(interrupts_module.time, "monotonic", lambda: now[0])
    with pytest.raises(Interrupted, match="SIGINT"), interruptible() as interrupts, interrupts.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        now[0] += 0.5
        os.kill(os.getpid(), signal.SIGTERM)
        now[0] += 3
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("it went on")
