"""A run taken up again ends where it would have ended."""

import csv
import os
import shutil
import signal
import subprocess
from pathlib import Path

import lightning as L
import pytest
import torch
from conftest import tiny_overrides
from tiny_training import logging_as_before

from medimg.config.compose import load
from medimg.errors import Interrupted, MedimgError, RequestError
from medimg.inference.evaluate import evaluate_run
from medimg.models import ImageClassifier
from medimg.runs import RunFolder
from medimg.training.checkpoint_files import position
from medimg.training.job import resume_job, run_job


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder.last, weights_only=True)["state_dict"]
    return state


def epochs(folder: RunFolder) -> list[str]:
    with folder.metrics_file.open(newline="") as stream:
        return [row["epoch"] for row in csv.DictReader(stream)]


def interrupt_after(monkeypatch: pytest.MonkeyPatch, epoch: int, number: int, after: int = 0) -> None:
    """The signal arrives in the middle of the epoch after this one."""
    original = L.pytorch.core.module.LightningModule.on_train_batch_end

    def send(self: L.LightningModule, outputs: object, batch: object, batch_idx: int) -> None:
        original(self, outputs, batch, batch_idx)
        if self.current_epoch == epoch + 1 and batch_idx == after:
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
            cache = "none" if workers else "disk"  # worker processes read where nothing is kept
            given = [*tiny_overrides(tmp_path, session_cache), f"data.num_workers={workers}", f"data.cache={cache}"]
            run_job(load(given), folder, in_sweep=False)
    assert caught.value.exit_code == 128 + number
    assert folder.info()["status"] == "interrupted"
    saved = torch.load(folder.last, weights_only=True)
    assert position(saved) == (1, 2, 5)  # in the middle of an epoch, at an optimizer step
    assert len(saved["epoch_so_far"]["label"]) == 16
    assert signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}
    resume_job(str(folder.path), tmp_path)
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
        resume_job(str(folder.path), tmp_path)
    resume_job("latest", tmp_path, {"trainer.max_epochs": 3})
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
        resume_job(str(folder.path), tmp_path, {"trainer.max_epochs": 2})


def test_a_run_that_stopped_early_would_stop_again(tmp_path: Path, session_cache: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    patience = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=1e-12"]
    overrides = [*tiny_overrides(tmp_path, session_cache), *patience, "trainer.max_epochs=6", "model.batch_norm=false"]
    run_job(load(overrides), folder, in_sweep=False)
    assert len(epochs(folder)) < 6
    with pytest.raises(RequestError, match=r"stopped early[\s\S]*model\.init_from"):
        resume_job(str(folder.path), tmp_path, {"trainer.max_epochs": 20})


def test_changed_images_are_named_and_refused_unless_that_is_meant(tmp_path: Path, make_folder: object) -> None:
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
    moved = root.rename(tmp_path / "elsewhere")
    longer = {"trainer.max_epochs": 2, "data.root": str(moved)}
    resume_job(str(folder.path), tmp_path, longer)  # the same images in another place
    longer["trainer.max_epochs"] = 3
    gone = sorted((moved / "train/a").iterdir())[0]
    gone.unlink()
    with pytest.raises(RequestError, match=rf"images have changed.*1 gone \('train/a/{gone.name}'\)"):
        resume_job(str(folder.path), tmp_path, longer)
    assert folder.info()["status"] == "completed"
    resume_job(str(folder.path), tmp_path, longer, force=["data"])
    assert epochs(folder) == ["0", "1", "2"]
    assert [entry["forced"] for entry in folder.info()["resumed"]] == [[], ["data"]]


def test_a_changed_configuration_is_named_and_refused_unless_that_is_meant(
    tiny_run: tuple[RunFolder, object], tmp_path: Path
) -> None:
    folder = RunFolder(Path(shutil.copytree(tiny_run[0].path, tmp_path / "copy")))
    edited = folder.read_config()
    edited["augment"]["rotate"] = 45.0
    edited["trainer"]["max_epochs"] = 4
    folder.write_config(edited)
    folder.update(status="interrupted")
    with pytest.raises(RequestError, match=r"augment\.rotate: 10\.0 became 45\.0"):
        resume_job(str(folder.path), tmp_path)
    resume_job(str(folder.path), tmp_path, force=["augment.rotate"])
    assert epochs(folder) == ["0", "1", "2", "3"]
    with pytest.raises(RequestError, match=r"optimizer\.lr"):
        resume_job(str(folder.path), tmp_path, {"optimizer.lr": 1.0, "trainer.max_epochs": 5}, force=["optimizer.lr"])


def test_the_middle_of_an_epoch_goes_on_with_the_same_batches_alone(
    tmp_path: Path, session_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patched:
        interrupt_after(patched, 0, signal.SIGTERM)
        with pytest.raises(Interrupted):
            run_job(load(tiny_overrides(tmp_path, session_cache)), folder, in_sweep=False)
    with pytest.raises(RequestError, match="middle of an epoch"):
        resume_job(str(folder.path), tmp_path, {"data.batch_size": 4}, force=["data.batch_size"])


def test_gradients_that_are_added_up_are_not_cut_in_two(
    tmp_path: Path, session_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three batches an epoch, two to a step: a signal in the first waits for the second."""
    overrides = [*tiny_overrides(tmp_path, session_cache), "trainer.accumulate_grad_batches=2", "data.batch_size=4"]
    whole, folder = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "run")
    run_job(load(overrides), whole, in_sweep=False)
    with monkeypatch.context() as patched:
        interrupt_after(patched, 0, signal.SIGTERM, after=1)
        with pytest.raises(Interrupted):
            run_job(load(overrides), folder, in_sweep=False)
    assert position(torch.load(folder.last, weights_only=True))[:2] == (1, 4)
    resume_job(str(folder.path), tmp_path)
    assert all(torch.equal(value, weights(folder)[name]) for name, value in weights(whole).items())
    assert folder.metrics_file.read_text() == whole.metrics_file.read_text()


def test_a_signal_during_validation_waits_for_the_epochs_own_checkpoint(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patched:
        start = ImageClassifier.on_validation_epoch_start

        def send(self: ImageClassifier) -> None:
            start(self)
            os.kill(os.getpid(), signal.SIGUSR1)

        patched.setattr(ImageClassifier, "on_validation_epoch_start", send)
        with pytest.raises(Interrupted):
            run_job(load(tiny_overrides(tmp_path, session_cache)), folder, in_sweep=False)
    assert position(torch.load(folder.last, weights_only=True))[:2] == (1, 0)
    resume_job(str(folder.path), tmp_path)
    assert all(torch.equal(value, weights(folder)[name]) for name, value in weights(tiny_run[0]).items())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounting a tmpfs needs root")
def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path, session_cache: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        folder = RunFolder(disk / "run")
        overrides = [*tiny_overrides(tmp_path, session_cache), "logger=none", "callbacks.checkpoint.every_epoch=false"]
        run_job(load([*overrides, "trainer.max_epochs=1"]), folder, in_sweep=False)
        good = folder.last.read_bytes()
        folder.forget_results()  # as resuming does first, which makes room
        (disk / "filler").write_bytes(bytes(shutil.disk_usage(disk).free - len(good) // 2))
        with pytest.raises(MedimgError, match=r"the disk is full[\s\S]*last good checkpoint is kept") as caught:
            resume_job(str(folder.path), tmp_path, {"trainer.max_epochs": 3})
        assert caught.value.exit_code == 1
        assert folder.last.read_bytes() == good
        (disk / "filler").unlink()
        resume_job(str(folder.path), tmp_path)
        assert epochs(folder) == ["0", "1", "2"]
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


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


@pytest.mark.parametrize("cache", ["none", "memory"])
def test_neither_workers_nor_caches_change_anything(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path, cache: str
) -> None:
    folder = RunFolder(tmp_path / "run")
    asked = ["data.num_workers=2", f"data.cache={cache}"]
    run_job(load([*tiny_overrides(tmp_path, session_cache), *asked]), folder, in_sweep=False)
    assert all(torch.equal(value, weights(folder)[name]) for name, value in weights(tiny_run[0]).items())


def test_a_copied_run_goes_on_without_touching_the_original(tiny_run: tuple[RunFolder, object], tmp_path: Path) -> None:
    original = tiny_run[0]
    before = {file.name: file.stat().st_mtime_ns for file in original.checkpoints.iterdir()}
    copy = RunFolder(Path(shutil.copytree(original.path, tmp_path / "copy")))
    best = torch.load(copy.best, weights_only=True)["epoch"]
    resume_job(str(copy.path), tmp_path, {"trainer.max_epochs": 4})
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
    with pytest.raises(RequestError, match=r"other settings\n  model\.widths: \[4, 8\] there, \[4, 6\] now"):
        run_job(load([*tiny_overrides(tmp_path, session_cache), "model.widths=[4,6]"]), folder, in_sweep=True)
    assert folder.last.stat().st_mtime_ns == written

    evaluate_run(folder, split="test")
    with logging_as_before():
        resume_job(str(folder.path), tmp_path, {"trainer.max_epochs": 4})
    assert "test" not in folder.results()
    assert (folder.path / "train.log").read_text().count("scores on test are of the weights so far") == 1


def content_of(folder: RunFolder) -> dict[str, bytes]:
    hidden = {".lock"}
    return {
        str(file.relative_to(folder.path)): file.read_bytes()
        for file in folder.path.rglob("*")
        if file.is_file() and file.name not in hidden
    }


@pytest.mark.parametrize(
    ("changes", "force"),
    [
        ({"trainer.max_epochs": 2}, []),
        ({"trainer.max_epochs": 4, "augment.rotate": 45.0}, []),
        ({"trainer.max_epochs": 4, "model.widths": [4, 6]}, ["model.widths"]),
        ({"trainer.max_epochs": 4, "data.split_seed": 5}, ["data.split_seed"]),
        ({"trainer.max_epochs": 4, "data.check": "strict", "data.patients_per_class": 3}, ["data.patients_per_class"]),
        ({"trainer.max_epochs": 4, "data.root": "/nowhere", "data.classes": ["a", "b"]}, ["data.classes"]),
    ],
)
def test_a_resume_that_is_refused_leaves_the_run_as_it_is(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, changes: dict[str, object], force: list[str]
) -> None:
    folder = RunFolder(Path(shutil.copytree(tiny_run[0].path, tmp_path / "copy")))
    before = content_of(folder)
    with logging_as_before(), pytest.raises(RequestError):
        resume_job(str(folder.path), tmp_path, changes, force=force)
    after = content_of(folder)
    assert {name for name in before if before[name] != after.get(name)} <= {"train.log"}
    assert set(after) - set(before) <= {"train.log"}


def test_without_validation_an_extended_run_is_evaluated_on_its_new_last_epoch(
    tmp_path: Path, session_cache: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    overrides = [*tiny_overrides(tmp_path, session_cache), "data.val_fraction=0", "trainer.max_epochs=1"]
    run_job(load(overrides), folder, in_sweep=False)
    resume_job(str(folder.path), tmp_path, {"trainer.max_epochs": 2})
    best = torch.load(folder.best, weights_only=True)
    assert best["epoch"] == 1
    assert all(torch.equal(value, weights(folder)[name]) for name, value in best["state_dict"].items())


def test_a_run_that_stopped_early_and_was_killed_in_its_evaluation_is_not_trained_on(
    tmp_path: Path, session_cache: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    patience = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1", "optimizer.lr=1e-12"]
    overrides = [*tiny_overrides(tmp_path, session_cache), *patience, "trainer.max_epochs=6", "model.batch_norm=false"]
    run_job(load(overrides), folder, in_sweep=False)
    before, kept = epochs(folder), weights(folder)
    folder.update(status="running")
    folder.results_file.unlink()
    resume_job(str(folder.path), tmp_path)
    assert epochs(folder) == before
    assert all(torch.equal(value, weights(folder)[name]) for name, value in kept.items())
    assert folder.results_file.is_file()


def test_a_run_killed_before_its_configuration_was_written_begins_anew(tmp_path: Path, session_cache: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.update(status="failed")
    run_job(load([*tiny_overrides(tmp_path, session_cache), "trainer.max_epochs=1"]), folder, in_sweep=True)
    assert folder.info()["status"] == "completed"


def test_a_checkpoint_of_a_schedule_with_a_length_does_not_go_on_to_another(
    tmp_path: Path, session_cache: Path
) -> None:
    overrides = [*tiny_overrides(tmp_path, session_cache), "scheduler=cosine", "trainer.max_epochs=1"]
    folder = RunFolder(tmp_path / "run")
    run_job(load(overrides), folder, in_sweep=True)
    longer = [*overrides, "trainer.max_epochs=2"]
    with pytest.raises(RequestError, match="schedule was made for 1"):
        run_job(load([*longer, f"ckpt_path={folder.last}"]), RunFolder(tmp_path / "other"), in_sweep=False)
    with pytest.raises(RequestError, match="schedule was made for 1"):  # the same job of a sweep, now longer
        run_job(load(longer), folder, in_sweep=True)


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_before_any_file_is_put_in_its_place(
    tiny_run: tuple[RunFolder, object], tmp_path: Path, session_cache: Path, every: int
) -> None:
    """The worst moments: each time one file is new and the next is old."""
    overrides = tiny_overrides(tmp_path, session_cache)
    replace = Path.replace

    def attempt(folder: RunFolder, moment: int) -> int:
        child = os.fork()
        if child == 0:
            left = [moment]

            def counted(self: Path, target: Path) -> Path:
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return replace(self, target)

            Path.replace = counted  # type: ignore[method-assign]
            try:
                run_job(load(overrides), folder, in_sweep=False)
            finally:
                os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    for moment in range(0, 1000, every):
        folder = RunFolder(tmp_path / f"run{moment}")
        if attempt(folder, moment) == 0:
            break
        if folder.has_begun():
            resume_job(str(folder.path), tmp_path)
        else:
            run_job(load(overrides), folder, in_sweep=True)
        assert all(torch.equal(value, weights(folder)[name]) for name, value in weights(tiny_run[0]).items()), moment
        assert folder.metrics_file.read_text() == tiny_run[0].metrics_file.read_text(), moment
        kept = {file.name for file in folder.checkpoints.iterdir()}
        assert kept == {file.name for file in tiny_run[0].checkpoints.iterdir()}, moment
        assert folder.predictions("val").read_text() == tiny_run[0].predictions("val").read_text(), moment
    assert moment > 20
