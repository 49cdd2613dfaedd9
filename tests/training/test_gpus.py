"""Which GPUs there are for jobs, and whose turn each is."""

import pytest

from medimg.training import gpus
from medimg.training.gpus import Turns, visible_gpus


@pytest.mark.parametrize(
    ("count", "given", "expected"),
    [
        (0, None, []),
        (2, None, ["0", "1"]),
        (2, "3, 1", ["3", "1"]),
        (1, "GPU-8932f937,GPU-none", ["GPU-8932f937"]),  # CUDA sees none after one that is not there
        (0, "", []),
        (0, "-1", []),
    ],
)
def test_the_names_that_cuda_knows(
    count: int, given: str | None, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "_count", lambda: count)
    if given is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == expected


def test_each_job_takes_the_gpu_with_the_fewest() -> None:
    turns = Turns(["0", "1"])
    assert [turns.take() for _ in range(4)] == ["0", "1", "0", "1"]
    turns.give_back("1")
    turns.give_back("1")
    assert [turns.take() for _ in range(2)] == ["1", "1"]


def test_without_a_gpu_there_are_no_turns() -> None:
    turns = Turns([])
    assert turns.take() is None
    turns.give_back(None)
