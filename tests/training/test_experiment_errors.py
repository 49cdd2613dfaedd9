"""What a user is told, and with which exit code, where data, weights or checkpoint cannot be what was meant."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import draw_folder, tiny_overrides
from tiny_training import logging_as_before

from medimg.cli import main
from medimg.config.training import TrainConfig
from medimg.runs import RunFolder

Answer = tuple[int, str]

TINY = ["data.num_workers=0", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false", "trainer.max_epochs=1"]
SMALL = ["data.image_size=8", "data.batch_size=8", "model.widths=[4]", "callbacks.figures=null", "logger=none"]


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Hydra sets up logging for each run, with files and streams that are gone afterwards."""
    with logging_as_before():
        yield


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs `medimg train` in a folder of its own; the exit code, and the error as the user sees it."""
    monkeypatch.chdir(tmp_path)

    def run(*overrides: str) -> Answer:
        code = main(["train", *TINY, *overrides])
        said = capfd.readouterr().err
        assert "Traceback" not in said
        assert "Error executing job" not in said  # Hydra's way to say it
        before, mark, error = said.partition("medimg: error: ")
        assert bool(mark) == bool(code)
        assert not before or before.endswith("\n")
        assert len(error.splitlines()) <= 8
        return code, error

    return run


def folder(ask_dir: Path, counts: dict[str, int]) -> str:
    return f"data.root={draw_folder(ask_dir / 'images', counts)}"


def status(home: Path) -> str:
    (file,) = (home / "runs").rglob("run.json")
    found: str = json.loads(file.read_text())["status"]
    assert (file.parent / "error.txt").is_file()
    return found


def test_a_wrong_key(ask: Callable[..., Answer]) -> None:
    code, error = ask("optimizer.lrr=1")
    assert code == 2
    assert "'optimizer.lr'" in error


@pytest.mark.parametrize("inside", [[], ["a"], ["train"], ["train/a", "train/b"]])
def test_an_empty_folder(ask: Callable[..., Answer], tmp_path: Path, inside: list[str]) -> None:
    root = tmp_path / "empty"
    root.mkdir()
    for name in inside:
        (root / name).mkdir(parents=True)
    code, error = ask("data=image_folder", f"data.root={root}")
    assert code == 2
    assert str(root) in error
    assert "ROOT/<class>/<image>" in error
    assert status(tmp_path) == "failed"


@pytest.mark.parametrize("counts", [{"only": 4}, {"train/only": 4, "test/only": 2}])
def test_a_folder_with_one_class(ask: Callable[..., Answer], tmp_path: Path, counts: dict[str, int]) -> None:
    code, error = ask("data=image_folder", folder(tmp_path, counts))
    assert code == 2
    assert "one class only" in error
    assert "'only'" in error


def test_an_unknown_class_folder_names_the_nearest_and_the_cure(ask: Callable[..., Answer], tmp_path: Path) -> None:
    code, error = ask("data=covid", folder(tmp_path, {"train/normal": 8, "train/covit": 8}))
    assert code == 2
    assert "'covit'" in error
    assert "Did you mean 'covid'" in error
    assert "data.class_aliases={covit:covid}" in error
    cured, _ = ask("data=covid", f"data.root={tmp_path / 'images'}", "data.class_aliases={covit:covid}", *SMALL)
    assert cured == 0


def test_a_class_that_is_missing(ask: Callable[..., Answer], tmp_path: Path) -> None:
    code, error = ask("data=ct", folder(tmp_path, {"ILD": 4, "normal": 4, "Lung cancer": 4, "pneumonia": 4}))
    assert code == 2
    assert "'pneumothorax'" in error
    assert "data.classes=[ILD,Lung_Cancer,Normal,pneumonia]" in error


@pytest.mark.parametrize("content", ["another", "no tensors", "damaged", "missing", "one tensor short"])
def test_a_weights_file_that_does_not_fit(ask: Callable[..., Answer], tmp_path: Path, content: str) -> None:
    import torchvision

    file = tmp_path / "weights.pth"
    state = torchvision.models.squeezenet1_1(weights=None).state_dict()
    if content == "another":
        torch.save(torchvision.models.shufflenet_v2_x0_5(weights=None).state_dict(), file)
    elif content == "no tensors":
        torch.save({"epoch": 3}, file)
    elif content == "damaged":
        file.write_bytes(b"PK\x03\x04" + bytes(200))
    elif content == "one tensor short":
        del state["features.0.bias"]
        torch.save(state, file)
    data = [*SMALL[1:2], *SMALL[3:], "data=image_folder", "data.image_size=32", folder(tmp_path, {"a": 8, "b": 8})]
    code, error = ask("model=squeezenet1_1", f"model.weights={file}", *data)
    assert code == 2
    assert str(file) in error
    if content in {"another", "one tensor short"}:
        assert "does not fit squeezenet1_1" in error


@pytest.mark.parametrize("key", ["ckpt_path", "model.weights"])
def test_a_checkpoint_cut_in_half(
    ask: Callable[..., Answer],
    tmp_path: Path,
    tiny_run: tuple[RunFolder, TrainConfig],
    session_cache: Path,
    key: str,
) -> None:
    whole = tiny_run[0].last.read_bytes()
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(whole[: len(whole) // 2])
    model = ["model=squeezenet1_1", "data.image_size=32"] if key == "model.weights" else []
    overrides = [line for line in tiny_overrides(tmp_path / "runs", session_cache) if line.startswith("data")]
    tiny = ["model.widths=[4,8]", "model.dropout=0.2"] if key == "ckpt_path" else []
    code, error = ask(*overrides[1:], *model, *tiny, f"{key}={cut}", f"paths.cache={session_cache}")
    assert code == 2
    assert "cut.ckpt" in error
    assert status(tmp_path) == "failed"


def test_a_run_whose_last_checkpoint_is_cut_in_half_is_not_resumed(
    ask: Callable[..., Answer],
    tmp_path: Path,
    tiny_run: tuple[RunFolder, TrainConfig],
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = RunFolder(Path(shutil.copytree(tiny_run[0].path, tmp_path / "copy")))
    run.last.write_bytes(run.last.read_bytes()[:5000])
    assert main(["resume", f"run={run.path}", "trainer.max_epochs=5"]) == 2
    assert "last.ckpt cannot be read as a checkpoint" in capfd.readouterr().err


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_unreadable_image(ask: Callable[..., Answer], tmp_path: Path, split: str) -> None:
    """The test split is read at the end; an image that cannot be read there is a wrong request all the same."""
    root = folder(tmp_path, {"train/a": 8, "train/b": 8, "test/a": 4, "test/b": 4})
    broken = sorted((tmp_path / "images" / split / "b").iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:60])
    code, error = ask("data=image_folder", root, *SMALL)
    assert code == 2
    assert str(broken) in error
    assert "cannot be read" in error
    assert status(tmp_path) == "failed"


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["loss.class_weights={a:1,c:2}"], ["loss.class_weights", "'c' is not a class", "'b' has no weight", "a, b"]),
        (["loss.class_weights={a:0,b:0}"], ["loss.class_weights", "all weights are 0"]),
        (["data.positive_class=c"], ["data.positive_class=c", "a, b"]),
        (["data.class_aliases={c:a}"], ["data.class_aliases", "'c'", "a, b"]),
        (["data.patient_regex=P(\\d+)"], ["data.patient_regex", "matches no path"]),
        (["data.folds=20", "data.fold=0"], ["data.folds=20"]),
        (["data.image_size=1"], ["data.image_size", "1x1"]),
        (
            ["callbacks=early_stopping", "data.val_fraction=0"],
            ["callbacks.early_stopping", "validation", "val_fraction"],
        ),
        (["scheduler=plateau", "data.val_fraction=0"], ["plateau", "val_fraction"]),
        (["monitor.metric=val/f1/c"], ["val/f1/c"]),
        (["trainer.strategy=nonsense"], ["trainer", "nonsense"]),
        (["model=torchvision", "model.backbone=resnet19"], ["resnet19", "resnet18"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and "=" in value[0] else "",
)
def test_what_does_not_go_with_the_data(
    ask: Callable[..., Answer], tmp_path: Path, overrides: list[str], named: list[str]
) -> None:
    own_model = any(line.startswith("model=") for line in overrides)
    small = [line for line in SMALL if not (own_model and line.startswith("model"))]
    code, error = ask("data=image_folder", folder(tmp_path, {"a": 8, "b": 8}), *small, *overrides)
    assert code == 2
    for words in named:
        assert words in error


def test_folds_without_patients_are_by_image_and_say_so(
    ask: Callable[..., Answer], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    counts = {"a": 9, "b": 9}
    code = main(
        ["train", *TINY, *SMALL, "data=image_folder", folder(tmp_path, counts), "data.folds=3", "data.fold=0",
         f"paths.runs={tmp_path / 'runs'}"]
    )  # fmt: skip
    assert code == 0
    said = capfd.readouterr().err
    assert re.search(r"split is by image.*\n?.*patient", said)
    (file,) = (tmp_path / "runs").rglob("results.json")
    assert json.loads(file.read_text())["split_unit"] == "image"


def test_a_run_by_groups_says_that_they_stand_in_for_patients(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    counts = {"a": 12, "b": 12}
    code = main(
        ["train", *TINY, *SMALL, "data=image_folder", folder(tmp_path, counts), "data.group_by=blocks",
         "data.block_size=3", f"paths.runs={tmp_path / 'runs'}"]
    )  # fmt: skip
    assert code == 0
    assert "8 groups of 24 images, the largest has 3" in " ".join(capfd.readouterr().err.split())
    (results,) = (tmp_path / "runs").rglob("results.json")
    assert json.loads(results.read_text())["split_unit"] == "group"
    groups = json.loads((results.parent / "run.json").read_text())["groups"]
    assert (groups["number"], groups["largest"]) == (8, 3)
    assert "a lower bound on leakage" in groups["note"]
    assert "medimg_group" in (results.parent / "manifest.csv").read_text().splitlines()[0]
