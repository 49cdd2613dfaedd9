"""Which file `checkpoint=` means, and what is said of a run that did not come to its end."""

from pathlib import Path

import pytest
from handmade_runs import write_run

from medimg.errors import RequestError
from medimg.runs import RunFolder
from medimg.runs.checkpoints import find_checkpoint, find_checkpoints, told_unfinished


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.checkpoints.mkdir(parents=True)
    for name in ("best", "last", "epoch_001", "epoch_000"):
        (folder.checkpoints / f"{name}.ckpt").touch()
    return folder


def test_by_name_and_by_path(run: RunFolder, tmp_path: Path) -> None:
    assert find_checkpoint(run, "best") == run.best
    assert find_checkpoint(run, "last") == run.last
    assert find_checkpoint(run, "epoch_001") == run.checkpoints / "epoch_001.ckpt"
    elsewhere = tmp_path / "other.ckpt"
    elsewhere.touch()
    assert find_checkpoint(run, str(elsewhere)) == elsewhere
    assert [file.stem for file in find_checkpoints(run, "all")] == ["epoch_000", "epoch_001"]
    assert find_checkpoints(run, "last") == [run.last]


def test_those_that_are_there_are_named(run: RunFolder, tmp_path: Path) -> None:
    for name in ("5", "epoch_009", "epoch_009.ckpt"):
        with pytest.raises(RequestError, match=f"checkpoint={name}: (?s:.*)best, epoch_000, epoch_001, last"):
            find_checkpoint(run, name)
    with pytest.raises(RequestError, match="no epoch of it has ended"):
        find_checkpoint(RunFolder(tmp_path), "best")
    for file in run.checkpoints.glob("epoch_*"):
        file.unlink()
    with pytest.raises(RequestError, match="every_epoch=true"):
        find_checkpoints(run, "all")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("completed", None),
        ("interrupted", "was interrupted after 2 of 7 epochs"),
        ("failed", "failed after 2 of 7 epochs"),
        ("running", "is still running after 2 of 7 epochs"),
    ],
)
def test_a_run_that_did_not_end(tmp_path: Path, status: str, said: str | None) -> None:
    folder = write_run(tmp_path / "a", "trainer.max_epochs=7", epochs=[(0.5, 1.0), (0.6, 0.9)], status=status)
    told = told_unfinished(folder)
    assert told is None if said is None else told is not None and said in told
