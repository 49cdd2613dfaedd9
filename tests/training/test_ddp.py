"""Several processes: each image once, each epoch once, and the first process alone writes."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import draw_folder


@pytest.mark.skipif(sys.platform == "win32", reason="gloo over loopback")
def test_two_processes_evaluate_every_image_once(tmp_path: Path) -> None:
    # shares are uneven everywhere, and the second process has no test image at all
    counts = {"train/a": 6, "train/b": 5, "val/a": 5, "val/b": 4, "test/a": 1}
    root = draw_folder(tmp_path / "images", counts)
    command = [
        "data=image_folder", f"data.root={root}", "data.image_size=8", "data.batch_size=4", "data.num_workers=0",
        "model.widths=[4]", "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2",
        "trainer.max_epochs=2", "logger=none", "name=ddp", "paths.runs=runs",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "medimg", "train", *command],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs" / "ddp").iterdir()
    assert json.loads((run / "run.json").read_text())["status"] == "completed"

    def column(file: str, name: str) -> list[str]:
        with (run / file).open(newline="") as stream:
            return [row[name] for row in csv.DictReader(stream)]

    for split in ("val", "test"):
        expected = sorted(file.relative_to(root).as_posix() for file in (root / split).rglob("*.png"))
        assert column(f"predictions/{split}.csv", "path") == expected
    assert column("metrics.csv", "epoch") == ["0", "1"]
    results = json.loads((run / "results.json").read_text())
    wrong = sum(
        label != found
        for label, found in zip(
            column("predictions/val.csv", "label"), column("predictions/val.csv", "prediction"), strict=True
        )
    )
    assert results["val"]["accuracy"] == pytest.approx(1 - wrong / 9)
    best = column("metrics.csv", "val/accuracy")[results["best_epoch"]]
    assert float(best) == pytest.approx(results["val"]["accuracy"])  # while training, too, of all images
    assert done.stderr.count("epoch 0 (last 1)") == 1  # one process speaks
