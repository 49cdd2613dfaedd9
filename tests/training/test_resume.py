"""A run taken up again ends where it would have ended."""

import csv
import os
import shutil
import signal
from pathlib import Path

import lightning as L
import pytest
import torch
from conftest import tiny_overrides

from medimg.config.compose import load
from medimg.errors import Interrupted, RequestError
from medimg.runs import RunFolder
from medimg.training.job import resume_job, run_job


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder.last, weights_only=True)["state_dict"]
    return state


def epochs(folder: RunFolder) -> list[str]:
    with folder.metrics_file.open(newline="") as stream:
        return [row["epoch"] for row in csv.DictReader(stream)]


def interrupt_after(monkeypatch: pytest.MonkeyPatch, epoch: int, number: int) -> None:
    """The signal arrives in the middle of the epoch after this one."""
    original = L.pytorch.core.module.LightningModule.on_train_batch_end

    def send(self: L.LightningModule, outputs: object, batch: object, batch_idx: int) -> None:
        original(self, outputs, batch, batch_idx)
        if self.current_epoch == epoch + 1 and batch_idx == 1:
            os.kill(os.getpid(), number)

    monkeypatch.setattr("medimg.models.classifier.ImageClassifier.on_train_batch_end", send, raising=False)


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, 0), (signal.SIGTERM, 2), (signal.SIGUSR1, 0)])
def test_an_interrupted_run_ends_as_one_that_never_was(
    tiny_run: tuple[RunFolder, object],
    tmp_path: Path,
    session_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    workers: int,
) -> None:
    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patched:
        interrupt_after(patched, 0, number)
        with pytest.raises(Interrupted) as caught:
            given = [*tiny_overrides(tmp_path, session_cache), f"data.num_workers={workers}"]
            run_job(load(given), folder, in_sweep=False)
    assert caught.value.exit_code == 128 + number
    assert folder.info()["status"] == "interrupted"
    assert signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}
    resume_job(str(folder.path), tmp_path, None, None)
    assert folder.info()["status"] == "completed"
    assert epochs(folder) == ["0", "1", "2"]
    whole, resumed = weights(tiny_run[0]), weights(folder)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert (folder.path / "metrics.csv").read_text() == (tiny_run[0].path / "metrics.csv").read_text()


def test_a_finished_run_is_extended_and_ends_as_one_made_that_long(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    run_job(load([*tiny_overrides(tmp_path, session_cache), "trainer.max_epochs=2"]), folder, in_sweep=False)
    with pytest.raises(RequestError, match="is finished, with"):
        resume_job(str(folder.path), tmp_path, None, None)
    resume_job("latest", tmp_path, 3, None)
    assert epochs(folder) == ["0", "1", "2"]
    assert all(torch.equal(value, weights(folder)[name]) for name, value in weights(tiny_run[0]).items())
    assert folder.read_config()["trainer"]["max_epochs"] == 3


def test_a_schedule_that_knows_its_length_is_not_extended(tmp_path: Path, session_cache: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_job(
        load([*tiny_overrides(tmp_path, session_cache), "trainer.max_epochs=1", "scheduler=cosine"]),
        folder,
        in_sweep=False,
    )
    with pytest.raises(RequestError, match="schedule was made for 1"):
        resume_job(str(folder.path), tmp_path, 2, None)


def test_changed_images_are_refused(tmp_path: Path, make_folder: object) -> None:
    root = make_folder({"train/a": 12, "train/b": 12})  # type: ignore[operator]
    overrides = [
        f"data.root={root}",
        "data=image_folder",
        "model.widths=[4]",
        "trainer.accelerator=cpu",
        "data.num_workers=0",
    ]
    folder = RunFolder(tmp_path / "run")
    run_job(load([*overrides, "trainer.max_epochs=1", f"paths.runs={tmp_path}"]), folder, in_sweep=False)
    next((root / "train/a").iterdir()).unlink()
    with pytest.raises(RequestError, match="images have changed"):
        resume_job(str(folder.path), tmp_path, 2, None)


@pytest.mark.parametrize("damage", ["cut", "random", "foreign", "missing"])
def test_a_checkpoint_that_is_none_is_refused(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path, damage: str
) -> None:
    file = tmp_path / "some.ckpt"
    content = tiny_run[0].last.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "random":
        file.write_bytes(bytes(range(256)) * 40)
    elif damage == "foreign":
        torch.save({"state_dict": {}}, file)
    with pytest.raises(RequestError, match=r"some\.ckpt"):
        run_job(
            load([*tiny_overrides(tmp_path, session_cache), f"ckpt_path={file}"]),
            RunFolder(tmp_path / "run"),
            in_sweep=False,
        )


def test_a_checkpoint_of_another_model_or_other_classes_is_refused(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path
) -> None:
    from_checkpoint = [f"ckpt_path={tiny_run[0].last}", "trainer.max_epochs=4"]
    with pytest.raises(RequestError, match="another model"):
        run_job(
            load(
                [
                    *tiny_overrides(tmp_path, session_cache),
                    *from_checkpoint,
                    "model.widths=[4,6]",
                ]
            ),
            RunFolder(tmp_path / "wider"),
            in_sweep=False,
        )
    with pytest.raises(RequestError, match="trained for the classes"):
        run_job(
            load([*tiny_overrides(tmp_path, session_cache), *from_checkpoint, "data=ct_phantom"]),
            RunFolder(tmp_path / "ct"),
            in_sweep=False,
        )


def test_a_new_run_starts_from_a_full_state(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    start = tiny_run[0].checkpoints / "epoch_001.ckpt"
    run_job(load([*tiny_overrides(tmp_path, session_cache), f"ckpt_path={start}"]), folder, in_sweep=False)
    assert epochs(folder) == ["2"]
    assert all(torch.equal(value, weights(folder)[name]) for name, value in weights(tiny_run[0]).items())


def test_workers_change_nothing(tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_job(load([*tiny_overrides(tmp_path, session_cache), "data.num_workers=2"]), folder, in_sweep=False)
    assert all(torch.equal(value, weights(folder)[name]) for name, value in weights(tiny_run[0]).items())


def test_a_copied_run_goes_on_without_touching_the_original(tiny_run: tuple[RunFolder, object], tmp_path: Path) -> None:
    original = tiny_run[0]
    before = {file.name: file.stat().st_mtime_ns for file in original.checkpoints.iterdir()}
    copy = RunFolder(Path(shutil.copytree(original.path, tmp_path / "copy")))
    best = torch.load(copy.best, weights_only=True)["epoch"]
    resume_job(str(copy.path), tmp_path, 4, None)
    assert {file.name: file.stat().st_mtime_ns for file in original.checkpoints.iterdir()} == before
    with copy.metrics_file.open(newline="") as stream:
        scores = [(float(row["val/f1_macro"]), -float(row["val/loss"])) for row in csv.DictReader(stream)]
    assert len(scores) == 4
    assert torch.load(copy.best, weights_only=True)["epoch"] == scores.index(max(scores))
    assert max(scores[:3]) == scores[best]


def test_a_new_run_does_not_take_the_best_epoch_of_another_for_its_own(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    overrides = [*tiny_overrides(tmp_path, session_cache), f"ckpt_path={tiny_run[0].last}", "trainer.max_epochs=4"]
    run_job(load(overrides), folder, in_sweep=False)
    assert torch.load(folder.best, weights_only=True)["epoch"] == 3


def test_a_full_state_goes_on_with_its_own_optimizer_alone(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path
) -> None:
    overrides = [*tiny_overrides(tmp_path, session_cache), f"ckpt_path={tiny_run[0].last}", "trainer.max_epochs=4"]
    with pytest.raises(RequestError, match=r"optimizer\.lr=1\.0 \(the checkpoint: 0\.01\)"):
        run_job(load([*overrides, "optimizer.lr=1.0"]), RunFolder(tmp_path / "lr"), in_sweep=False)
    with pytest.raises(RequestError, match="has had 3 epochs"):
        run_job(load([*overrides, "trainer.max_epochs=3"]), RunFolder(tmp_path / "short"), in_sweep=False)


def test_a_run_is_not_made_over_another(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path
) -> None:
    before = tiny_run[0].last.stat().st_mtime_ns
    with pytest.raises(RequestError, match="holds a run already"):
        run_job(load(tiny_overrides(tmp_path, session_cache)), tiny_run[0], in_sweep=False)
    assert tiny_run[0].info()["status"] == "completed"
    assert tiny_run[0].last.stat().st_mtime_ns == before


def test_a_sweep_takes_up_what_was_interrupted_and_leaves_what_was_extended(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "job")
    with monkeypatch.context() as patched:
        interrupt_after(patched, 0, signal.SIGTERM)
        with pytest.raises(Interrupted):
            run_job(load(tiny_overrides(tmp_path, session_cache)), folder, in_sweep=True)
    started = folder.info()["started"]
    run_job(load(tiny_overrides(tmp_path, session_cache)), folder, in_sweep=True)
    assert (folder.info()["status"], folder.info()["started"]) == ("completed", started)
    assert all(torch.equal(value, weights(folder)[name]) for name, value in weights(tiny_run[0]).items())
    written = folder.last.stat().st_mtime_ns
    run_job(load([*tiny_overrides(tmp_path, session_cache), "trainer.max_epochs=2"]), folder, in_sweep=True)
    assert (
        run_job(load([*tiny_overrides(tmp_path, session_cache), "model.widths=[4,6]"]), folder, in_sweep=True) is None
    )
    assert folder.last.stat().st_mtime_ns == written
