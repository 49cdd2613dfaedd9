"""Jobs in processes of their own, so many at a time: started, heard, passed signals on to, and seen to their ends."""

import os
import pickle
import selectors
import signal
import socket
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, filter_overrides, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from medimg.errors import Interrupted
from medimg.runs import RunFolder
from medimg.training.forking import Child, fork
from medimg.training.fresh_process import takes_many
from medimg.training.gpus import Turns
from medimg.training.interrupts import SIGNALS
from medimg.training.job_end import has_failed, settle
from medimg.training.sweep_display import Display
from medimg.training.sweep_job import SweepStopped, job_environment


@dataclass
class Job:
    """A job and how far it is.

    Attributes:
        number: from 0, among all jobs of the sweep.
        overrides: its own.
        config: composed, Hydra's part included.
        folder: where it runs.
    """

    number: int
    overrides: list[str]
    config: DictConfig
    folder: RunFolder
    gpu: str | None = None
    child: Child | None = None
    partial: bytes = b""
    result: bytes = b""
    returned: JobReturn = field(default_factory=JobReturn)

    @property
    def many(self) -> bool:
        """Whether it takes several devices."""
        return takes_many(self.config.trainer)


class JobPool:
    """Runs jobs, `at_a_time` at a time: the next starts as soon as one ends.

    Args:
        context: of Hydra.
        task: runs a job in the folder that Hydra has made for it.
        jobs: in the order in which they start.
        at_a_time: how many run at once.
        gpus: each running job gets one; empty where there is none.
        stop: whether none starts after one has failed.
    """

    def __init__(
        self,
        context: HydraContext,
        task: TaskFunction,
        jobs: Sequence[Job],
        at_a_time: int,
        gpus: list[str],
        *,
        stop: bool,
    ) -> None:
        self.context, self.task, self.stop = context, task, stop
        self.waiting, self.running = deque(jobs), list[Job]()
        self.at_a_time, self.turns = min(at_a_time, len(jobs)), Turns(gpus)
        self.threads = max(1, available_cores() // self.at_a_time) if self.at_a_time > 1 and not gpus else None
        self.shared = set.intersection(*(set(job.overrides) for job in jobs))
        self.signals: list[int] = []
        self.failed = 0
        self.selector = selectors.DefaultSelector()
        basic = "BasicSweeper" in str(jobs[0].config.hydra.sweeper._target_)
        self.display = Display(len(jobs), labelled=self.at_a_time > 1, more=not basic)

    def run(self) -> None:
        """Returns when no job is left to start or to wait for.

        Raises:
            Interrupted: a signal came; the jobs that were running have ended.
            SweepStopped: a job failed, and that is to end the sweep.
        """
        with self._listening() as woken, self.selector:
            self.selector.register(woken, selectors.EVENT_READ)
            try:
                self._start_some()
                while self.running:
                    self._hear(woken)
                    for job in list(self.running):
                        self._reap(job)
                    self._start_some()
            finally:
                self.display.close()
        if self.signals:
            raise Interrupted(self.signals[0])
        if self._stopping():
            raise SweepStopped

    def _stopping(self) -> bool:
        return bool(self.signals) or (self.stop and self.failed > 0)

    def _start_some(self) -> None:
        while self.waiting and len(self.running) < self.at_a_time and not self._stopping():
            self._start(self.waiting.popleft())

    def _start(self, job: Job) -> None:
        job.returned = JobReturn(overrides=job.overrides, task_name=job.config.hydra.job.name)
        job.gpu = None if job.many else self.turns.take()
        own = [override for override in filter_overrides(job.overrides) if override not in self.shared]
        self.display.started(job.number, " ".join(own) or job.folder.path.name)
        # a signal is passed on to the jobs that are listed: none may come between the start and the list
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            job.child = fork(lambda: self._work(job), close=self._descriptors())
            self.running.append(job)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for descriptor in (job.child.output, job.child.result):
            self.selector.register(descriptor, selectors.EVENT_READ, job)

    def _descriptors(self) -> list[int]:
        return [descriptor for job in self.running if job.child for descriptor in (job.child.output, job.child.result)]

    def _work(self, job: Job) -> tuple[JobStatus, Any]:
        """In the child: the course of a job as Hydra has it."""
        with job_environment(job.gpu, self.threads, self.at_a_time):
            done = run_job(
                hydra_context=self.context,
                task_function=self.task,
                config=job.config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
        return done.status, done._return_value

    def _hear(self, woken: socket.socket) -> None:
        """Waits until a job prints or ends, or a signal comes."""
        patience = None if threading.current_thread() is threading.main_thread() else 0.2
        for key, _ in self.selector.select(patience):
            if key.fileobj is woken:
                with suppress(BlockingIOError):
                    woken.recv(4096)
            else:
                self._read(key.data, key.fd)

    def _read(self, job: Job, descriptor: int) -> None:
        if job.child is None:
            return
        with suppress(BlockingIOError):
            while content := os.read(descriptor, 65536):
                if descriptor == job.child.result:
                    job.result += content
                else:
                    self._print(job, content)
            with suppress(KeyError):  # it has closed the pipe
                self.selector.unregister(descriptor)

    def _print(self, job: Job, content: bytes) -> None:
        *lines, job.partial = (job.partial + content).split(b"\n")
        for line in lines:
            self.display.line(job.number, line.decode(errors="replace").rstrip("\r").rpartition("\r")[2])

    def _reap(self, job: Job) -> None:
        """Settles a job that has ended, and its helpers with it."""
        child = job.child
        if child is None:
            return
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if not pid:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)  # workers that it has left behind
        for descriptor in (child.output, child.result):
            self._read(job, descriptor)
            with suppress(KeyError):
                self.selector.unregister(descriptor)
            os.close(descriptor)
        if job.partial:
            self._print(job, b"\n")
        self.running.remove(job)
        self.turns.give_back(job.gpu)
        if job.result:
            job.returned.status, job.returned._return_value = pickle.loads(job.result)  # noqa: S301 - of our own child
        else:
            code = os.waitstatus_to_exitcode(status)
            job.returned.status = JobStatus.COMPLETED
            job.returned._return_value = settle(job.folder, code, asked_to_end=self.signals)
        failed = has_failed(job.folder)
        self.failed += failed
        self.display.ended(job.number, failed=failed)

    @contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        """Within it, signals are passed on to the jobs, and whatever comes wakes the loop."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        with ours, theirs:
            if threading.current_thread() is not threading.main_thread():
                yield ours  # Python hands signals to the main thread
                return
            before = {number: signal.signal(number, self._pass_on) for number in SIGNALS}
            before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
            wakeup = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
            try:
                yield ours
            finally:
                signal.set_wakeup_fd(wakeup)
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)
        for job in self.running:
            if job.child is not None:
                with suppress(ProcessLookupError):
                    os.kill(job.child.pid, number)


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
