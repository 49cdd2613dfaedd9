"""Several processes: each image once, each epoch once, the first process alone writes, and all stop together."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw_folder

from medimg.config import TrainConfig
from medimg.runs import RunFolder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="gloo over loopback")

# shares are uneven everywhere, and the second process has no test image at all
COUNTS = {"train/a": 26, "train/b": 25, "val/a": 5, "val/b": 4, "test/a": 1}
EPOCHS = 12


def start(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "medimg", *arguments],
        cwd=home,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def training(root: Path, name: str) -> list[str]:
    return [
        "train", "data=image_folder", f"data.root={root}", "data.image_size=8", "data.batch_size=4",
        "data.num_workers=0", "model.widths=[4]", "model.dropout=0.2", "augment=rotate_zoom", "trainer=ddp",
        "trainer.accelerator=cpu", "trainer.devices=2", f"trainer.max_epochs={EPOCHS}", "logger=none",
        f"hydra.run.dir={name}",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("ddp")
    draw_folder(home / "images", COUNTS)
    return home


@pytest.fixture(scope="module")
def whole(home: Path) -> tuple[Path, str]:
    """A run of two processes, and what it said."""
    process = start(home, *training(home / "images", "whole"))
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return home / "whole", said


def column(run: Path, file: str, name: str) -> list[str]:
    with (run / file).open(newline="") as stream:
        return [row[name] for row in csv.DictReader(stream)]


def test_two_processes_evaluate_every_image_once(home: Path, whole: tuple[Path, str]) -> None:
    run, said = whole
    assert json.loads((run / "run.json").read_text())["status"] == "completed"
    for split in ("val", "test"):
        expected = sorted(
            file.relative_to(home / "images").as_posix() for file in (home / "images" / split).rglob("*.png")
        )
        assert column(run, f"predictions/{split}.csv", "path") == expected
    assert column(run, "metrics.csv", "epoch") == [str(epoch) for epoch in range(EPOCHS)]
    results = json.loads((run / "results.json").read_text())
    labels, found = (column(run, "predictions/val.csv", name) for name in ("label", "prediction"))
    wrong = sum(label != other for label, other in zip(labels, found, strict=True))
    assert results["val"]["accuracy"] == pytest.approx(1 - wrong / 9)
    best = column(run, "metrics.csv", "val/accuracy")[results["best_epoch"]]
    assert float(best) == pytest.approx(results["val"]["accuracy"])  # while training, too, of all images
    assert said.count(f"epoch 0 (last {EPOCHS - 1})") == 1  # one process speaks


def test_a_signal_to_one_process_saves_both_and_they_go_on_as_if_nothing_had_been(
    home: Path, whole: tuple[Path, str]
) -> None:
    run = home / "stopped"
    process = start(home, *training(home / "images", "stopped"))
    while process.poll() is None and not (run / "metrics.csv").is_file():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, said
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    assert len(column(run, "metrics.csv", "epoch")) < EPOCHS
    process = start(home, "resume", "run=stopped")
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert (run / "metrics.csv").read_text() == (whole[0] / "metrics.csv").read_text()
    one, other = (
        torch.load(path / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for path in (run, whole[0])
    )
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_one_checkpoint_gives_one_table_however_many_processes(
    tiny_run: tuple[RunFolder, TrainConfig], tmp_path: Path
) -> None:
    """A run whose final evaluation was killed, finished by two processes."""
    copy = Path(shutil.copytree(tiny_run[0].path, tmp_path / "copy"))
    RunFolder(copy).update(status="interrupted")
    two = ["trainer.devices=2", "trainer.strategy=ddp", "force=[trainer.devices,trainer.strategy]"]
    process = start(tmp_path, "resume", "run=copy", *two)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    for split in ("val", "test"):
        file = f"predictions/{split}.csv"
        for name in ("path", "patient_id", "label", "prediction"):
            assert column(copy, file, name) == column(tiny_run[0].path, file, name)
        for name in ("logit_covid", "logit_normal", "prob_covid"):
            one, other = (np.array(column(run, file, name), dtype=float) for run in (copy, tiny_run[0].path))
            np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_is_wrong_in_the_share_of_another_process_is_told(tmp_path: Path) -> None:
    root = draw_folder(tmp_path / "images", {"train/a": 8, "train/b": 8, "val/a": 2, "val/b": 2})
    broken = root / "val/a" / "2_001.png"  # position 1: the second process's
    broken.write_bytes(broken.read_bytes()[:40])
    process = start(tmp_path, *training(root, "run"))
    _, said = process.communicate(timeout=300)
    assert process.returncode == 2, said
    assert broken.name in said.partition("medimg: error:")[2]
    assert not list((tmp_path / "run").glob(".error*"))
