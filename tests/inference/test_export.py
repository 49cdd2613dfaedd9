"""A run as one file: it says what the run wrote, carries what is needed to use it, and is never a wrong one."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from medimg.config import TrainConfig
from medimg.data.manifest import read_manifest_csv
from medimg.errors import MedimgError, RequestError
from medimg.inference import export as module
from medimg.inference.export import export
from medimg.inference.export_formats import METADATA_FILE, FileFormat, format_of
from medimg.inference.loading import load_classifier
from medimg.runs import RunFolder

Run = tuple[RunFolder, TrainConfig]

FITTED = {
    "temperature": {"value": 1.7, "safe": False, "reason": "20 patients"},
    "operating_points": {
        "chosen": "youden",
        "positive_class": "covid",
        "points": {"argmax": {"threshold": 0.5}, "youden": {"threshold": 0.4375}},
    },
}


@pytest.fixture
def copy(tiny_run: Run, tmp_path: Path) -> RunFolder:
    shutil.copytree(tiny_run[0].path, tmp_path / "copy")
    return RunFolder(tmp_path / "copy")


def with_results(folder: RunFolder, **values: Any) -> RunFolder:
    folder.results_file.write_text(json.dumps(folder.results() | values), encoding="utf-8")
    return folder


def test_it_says_what_the_run_wrote(copy: RunFolder) -> None:
    done = export(with_results(copy, **FITTED))
    assert done.file == copy.path / "export" / "model.onnx"
    session = onnxruntime.InferenceSession(done.file, providers=["CPUExecutionProvider"])
    classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
    manifest, size = read_manifest_csv(copy.manifest_file), load_classifier(copy).preprocessing
    records = {record.path: record for record in manifest.records}
    with copy.predictions("test").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    written = np.array([[float(row[f"prob_{name}"]) for name in classes] for row in rows])

    ours = torch.stack([size.to_unit(size.resize(manifest.read(records[row["path"]], 3))) for row in rows])
    logits, plain, calibrated = session.run(None, {"image": ours.numpy()})
    assert plain == pytest.approx(written, abs=1e-4)
    powers = np.exp(logits.astype(float) / 1.7)
    assert calibrated == pytest.approx(powers / powers.sum(axis=1, keepdims=True), abs=1e-6)
    # and from files to probabilities without medimg; only that torch rounds otherwise when it resizes 8 bits
    theirs = np.stack([_by_hand(Path(str(records[row["path"]].file))) for row in rows])
    assert session.run(["probability"], {"image": theirs})[0] == pytest.approx(written, abs=2e-3)


def _by_hand(file: Path) -> np.ndarray:
    larger = Image.open(file).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
    return np.asarray(larger, dtype=np.float32).transpose(2, 0, 1) / 255


def test_what_the_file_carries(copy: RunFolder) -> None:
    done = export(with_results(copy, **FITTED))
    props = {prop.key: prop.value for prop in onnx.load(done.file).metadata_props}
    assert json.loads(props["classes"]) == ["normal", "covid"] and props["positive_class"] == "covid"
    assert (props["threshold"], props["operating_point"]) == ("0.4375", "youden")
    assert (props["temperature"], props["temperature_safe"]) == ("1.7", "false")
    assert json.loads(props["input"])["shape"] == ["batch", 3, 64, 64]
    assert "Not for clinical use" in props["notice"]
    beside = json.loads(done.about.read_text())
    assert {key: beside[key] if isinstance(beside[key], str) else json.dumps(beside[key]) for key in props} == props
    assert beside["file"] == "model.onnx"
    assert beside["checked"]["of"] == "validation and test images of the run"
    assert 0 < beside["checked"]["images"] <= 32
    assert beside["checked"]["max_difference"]["probability"] < 1e-5
    graph = onnx.load(done.file).graph
    assert [dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim] == ["batch", 3, 64, 64]
    assert [output.name for output in graph.output] == ["logits", "probability", "calibrated"]


def test_torch_export_is_the_same(copy: RunFolder, tmp_path: Path) -> None:
    done = export(with_results(copy, **FITTED), "torch", output=tmp_path / "elsewhere" / "covid.pt2")
    extra = {METADATA_FILE: ""}
    program = torch.export.load(done.file, extra_files=extra)
    assert json.loads(extra[METADATA_FILE])["threshold"] == 0.4375
    outputs = program.module()(torch.rand(3, 3, 64, 64))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == dict.fromkeys(
        ("logits", "probability", "calibrated"), (3, 2)
    )
    assert sorted(path.name for path in done.file.parent.iterdir()) == ["covid.pt2", "covid.pt2.json"]


def test_older_runs_have_no_threshold_and_no_temperature(copy: RunFolder) -> None:
    old = {key: value for key, value in copy.results().items() if key not in FITTED}
    copy.results_file.write_text(json.dumps(old), encoding="utf-8")
    about = export(copy, "torch").metadata
    assert (about["threshold"], about["operating_point"], about["temperature"]) == (None, None, None)
    assert about["outputs"] == ["logits", "probability"]


def test_what_was_fitted_to_the_best_epoch_is_not_given_to_another(copy: RunFolder) -> None:
    done = export(with_results(copy, **FITTED), "torch", checkpoint=str(copy.checkpoints / "epoch_000.ckpt"))
    assert done.metadata["checkpoint"] == "epoch_000.ckpt"
    assert (done.metadata["threshold"], done.metadata["temperature"]) == (None, None)


def test_where_the_images_are_gone_it_is_checked_on_random_ones_and_says_so(copy: RunFolder) -> None:
    lines = copy.manifest_file.read_text().replace("/covid_phantom", "/gone")
    lines = lines.replace(str(read_manifest_csv(copy.manifest_file).records[0].file).rpartition("/")[0], "/gone")
    copy.manifest_file.write_text("\n".join(line.replace(".png", ".gone") for line in lines.splitlines()))
    assert export(copy, "torch").checked["of"].startswith("random images")
    copy.manifest_file.unlink()
    assert export(copy, "torch").checked["images"] == 32


def test_a_file_that_gives_other_probabilities_is_not_kept(copy: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    good = export(copy, "torch").file.read_bytes()

    def off_by(amount: float) -> FileFormat:
        def load(file: Path) -> Any:
            run = format_of("torch").load(file)
            return lambda images: run(images) | {"probability": run(images)["probability"] + np.float32(amount)}

        return format_of("torch")._replace(load=load)

    for amount in (2e-4, np.nan):
        monkeypatch.setattr(module, "format_of", lambda _, amount=amount: off_by(amount))
        with pytest.raises(MedimgError, match="probabilities differ") as caught:
            export(copy, "torch")
        assert caught.value.exit_code == 1
        with pytest.raises(MedimgError):
            export(copy, "torch", output=copy.path / "new" / "model.pt2")
    assert (copy.path / "export" / "model.pt2").read_bytes() == good  # of before
    assert list((copy.path / "new").iterdir()) == []
    monkeypatch.setattr(module, "format_of", lambda _: off_by(5e-5))
    assert export(copy, "torch").checked["max_difference"]["probability"] == pytest.approx(5e-5, rel=0.01)


def test_another_suffix_is_refused(copy: RunFolder) -> None:
    with pytest.raises(RequestError, match=r"ends in \.pt2"):
        export(copy, "torch", output=copy.path / "model.onnx")
