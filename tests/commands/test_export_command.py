"""What `medimg export` understands, prints and refuses."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medimg.cli import main
from medimg.config import TrainConfig
from medimg.runs import RunFolder

Run = tuple[RunFolder, TrainConfig]


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    shutil.copytree(tiny_run[0].path, tmp_path / "runs" / "study" / "2024_01")
    monkeypatch.chdir(tmp_path)
    return RunFolder(tmp_path / "runs" / "study" / "2024_01")


def test_it_says_where_and_how_exact(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "run=latest", "output=my models/2024.onnx"]) == 0
    said = capsys.readouterr().out
    assert (Path("my models") / "2024.onnx").is_file() and (Path("my models") / "2024.onnx.json").is_file()
    for part in ("my models/2024.onnx", "validation and test images", "onnxruntime", "normal, covid", "clinical"):
        assert part in said
    assert "synthetic" in said
    assert not (run.path / "export").exists()


def test_torch_of_another_checkpoint(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", f"run={run.path}", "format=torch", "checkpoint=last"]) == 0
    assert (run.path / "export" / "model.pt2").is_file()
    assert "temperature: none (it was fitted to the best epoch alone)" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_readmes_lines_give_what_medimg_says(run: RunFolder, mode: str) -> None:
    lines = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").partition("import numpy as np, onnx")
    code = (lines[1] + lines[2]).partition("```")[0]
    pixels = np.random.default_rng(0).integers(0, 256, (150, 91, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save("image.png")
    assert main(["export", "run=latest", "output=model.onnx"]) == 0
    assert main(["predict", "run=latest", "input=image.png", "num_workers=0", "accelerator=cpu"]) == 0
    found: dict[str, Any] = {}
    exec(code, found)
    with Path("predictions.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    np.testing.assert_allclose(found["probability"], [float(row["prob_normal"]), float(row["prob_covid"])], atol=1e-5)


def test_the_reason_for_no_temperature_is_printed(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "run=latest", "format=torch"]) == 0
    said = capsys.readouterr().out
    assert "temperature: none (validation has too few patients" in said and "differ from PyTorch's by 0 " not in said
    about = json.loads((run.path / "export" / "model.pt2.json").read_text())
    assert "bilinear, antialias=True" in about["preprocessing"]["filter"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([], ["run=... is needed"]),
        (["run=nowhere"], ["run=nowhere", "runs/study/2024_01"]),
        (["run=latest", "format=tflite"], ["format=tflite", "onnx, torch"]),
        (["run=latest", "formt=onnx"], ["'formt'", "Did you mean 'format'"]),
        (["run=latest", "checkpoint=first"], ["checkpoint=first", "best, epoch_000"]),
        (["run=latest", "format=onnx,torch"], ["takes one value"]),
        (["run=latest", "output=model.pt"], ["model.pt", ".onnx"]),
        (["run=latest", "allow=5"], ["allow=5"]),
    ],
)
def test_wrong_requests(run: RunFolder, given: list[str], named: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", *given]) == 2
    said = capsys.readouterr().err
    assert said.startswith("medimg: error: ") and [part for part in named if part not in said] == []
    assert not (run.path / "export").exists()


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--help"]) == 0
    text = capsys.readouterr().out
    for key in ("run", "format", "checkpoint", "output", "paths.runs", "allow"):
        assert f"\n  {key} " in text
