"""The GPUs of this machine, and whose turn each is; asked in another process, so that this one never touches CUDA."""

import os
from collections import Counter


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that this process may use; empty where there is none."""
    count = _count()
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(count)] if given is None else [name.strip() for name in given.split(",")]
    return names[:count]


class Turns:
    """Hands each job a GPU: the one with the fewest jobs on it, the first of several."""

    def __init__(self, gpus: list[str]) -> None:
        self._jobs = Counter(dict.fromkeys(gpus, 0))

    def take(self) -> str | None:
        """A GPU for a job; None where there is none."""
        if not self._jobs:
            return None
        gpu = min(self._jobs, key=lambda name: self._jobs[name])
        self._jobs[gpu] += 1
        return gpu

    def give_back(self, gpu: str | None) -> None:
        """The job has ended."""
        if gpu is not None:
            self._jobs[gpu] -= 1


def _count() -> int:
    """Where CUDA has been touched before a fork, it is of no use after it: a process of its own counts."""
    pid = os.fork()
    if pid == 0:
        count = 0
        try:
            import torch

            count = min(torch.cuda.device_count(), 255)
        finally:
            os._exit(count)
    _, status = os.waitpid(pid, 0)
    return max(0, os.waitstatus_to_exitcode(status))
