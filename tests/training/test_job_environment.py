"""What a job of the local launcher finds in its environment."""

import os

import pytest

from medimg.data.cache.memory import processes
from medimg.training import sweep_job
from medimg.training.job_pool import Job, JobPool
from medimg.training.sweep_job import job_environment


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_job, "_forked", False)
    for name in ("CUDA_VISIBLE_DEVICES", "MEDIMG_JOBS", "LOCAL_WORLD_SIZE", "WORLD_SIZE"):
        monkeypatch.setenv(name, "0")  # so that it is put back at the end
        monkeypatch.delenv(name)


def test_a_job_knows_its_gpu_and_how_many_share_the_memory() -> None:
    with job_environment("1", None, 3):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
        assert processes() == 3
    with job_environment(None, None, 1):
        assert processes() == 1


def test_the_pool_says_how_many_run_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = object.__new__(JobPool)
    pool.context = pool.task = None  # type: ignore[assignment]
    pool.at_a_time, pool.threads = 5, None
    found: list[int] = []

    def run_job(**_: object) -> None:
        found.append(processes())
        raise InterruptedError

    monkeypatch.setattr("medimg.training.job_pool.run_job", run_job)
    with pytest.raises(InterruptedError):
        pool._work(Job(0, [], None, None))  # type: ignore[arg-type]
    assert found == [5]
