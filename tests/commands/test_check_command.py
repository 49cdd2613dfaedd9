"""What `medimg check` understands, writes and refuses; and the quick check of `medimg train`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, draw_folder
from medical_files import make_dicom, make_volume

from medimg.cli import main


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    draw_folder(tmp_path / "images", {"train/a": 12, "train/b": 12, "test/a": 4, "test/b": 4})
    return tmp_path


def leak(home: Path) -> None:
    shutil.copy(home / "images/train/a/0_000.png", home / "images/test/a/copy.png")


def written(home: Path) -> dict[str, object]:
    (file,) = home.glob("runs/checks/*/check.json")
    content: dict[str, object] = json.loads(file.read_text())
    return content


CHECK = ["check", "data=image_folder", "data.root=images"]


def test_a_sound_data_set(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(CHECK) == 0
    said = capsys.readouterr().out
    report = written(home)
    assert report["counts"] == {"train": {"a": 12, "b": 12}, "test": {"a": 4, "b": 4}}
    (page,) = home.glob("runs/checks/*/check.html")
    assert str(page.relative_to(home)) in said


def test_severe_findings_are_exit_code_1_and_a_second_check_replaces_the_first(home: Path) -> None:
    assert main(CHECK) == 0
    leak(home)
    assert main([*CHECK, "paths.runs=runs"]) == 1
    findings = written(home)["findings"]
    assert isinstance(findings, list)
    assert findings[0].keys() == {"kind", "severity", "files", "message", "cure"}
    assert findings[0]["files"] == ["test/a/copy.png", "train/a/0_000.png"]


def test_it_goes_on_past_what_train_refuses(home: Path) -> None:
    (home / "images/test/c").mkdir()
    (home / "images/test/c/1.png").write_bytes(b"")
    assert main(["train", "data=image_folder", "data.root=images", *TINY]) == 2
    assert main(CHECK) == 1
    assert {"class_mismatch", "unreadable"} <= {one["kind"] for one in written(home)["findings"]}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["data=image_folder"], "data.root is needed"),
        (["data.root=images"], "draws its images"),
        (["data=image_folder", "data.root=nowhere"], "no such file"),
        (["data=image_folder", "data.root=runs"], "holds nothing"),
        (["model=resnet18"], "no key 'model'"),
        (["dta.root=images"], "Did you mean 'data.root'?"),
        (["data=image_folder,ct", "data.root=images"], "takes one value"),
    ],
)
def test_wrong_requests(home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], named: str) -> None:
    (home / "runs").mkdir()
    assert main(["check", *arguments]) == 2
    assert named in capsys.readouterr().err
    assert not list(home.glob("runs/*"))


def test_phantoms_are_said_to_be_synthetic(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(CHECK) == 0
    assert "synthetic" not in capsys.readouterr().out
    main(["check", "data=covid_phantom", "data.patients_per_class=6", "data.size=16"])
    said = capsys.readouterr().out
    assert "These are synthetic images (data=covid_phantom)" in said
    assert "data.root=DIR" in said


def test_a_missing_setting_is_one_finding_with_all_its_files(home: Path) -> None:
    stored = np.zeros((6, 8), np.uint16)
    for label, window in (("a", 100), ("b", 300)):
        for number in range(3):
            make_volume(home / "ct" / label / f"{number}.nii", np.full((9, 8, 2), window + number, np.int16))
        make_dicom(home / "ct" / label / "x.dcm", stored, RescaleSlope=None)
        (home / "ct" / label / "empty.png").write_bytes(b"")
        (home / "ct" / label / "real.png").write_bytes((home / "images/train/a/0_000.png").read_bytes())

    def found(*options: str) -> list[tuple[str, int]]:
        assert main(["check", "data=image_folder", "data.root=ct", f"paths.runs={len(options)}", *options]) == 1
        (file,) = home.glob(f"{len(options)}/checks/*/check.json")
        kinds = [(one["kind"], len(one["files"])) for one in json.loads(file.read_text())["findings"]]
        return [pair for pair in kinds if pair[0] in {"needs_setting", "unreadable"}]

    assert found() == [("unreadable", 1), ("unreadable", 1), ("needs_setting", 12)]
    windowed = found("data.window=lung")  # no slope, told by decoding; pictures, told by their headers
    assert windowed == [("unreadable", 1), ("unreadable", 1), ("needs_setting", 2), ("needs_setting", 2)]


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--help"]) == 0
    assert "image_folder" in capsys.readouterr().out


def train(home: Path, mode: str) -> int:
    steps = ["trainer.max_epochs=1", "data.image_size=16", "model.widths=[4]", "hydra.run.dir=run", "logger=none"]
    return main(["train", "data=image_folder", "data.root=images", f"data.check={mode}", *TINY, *steps[:4]])


def test_training_warns_and_goes_on(home: Path) -> None:
    leak(home)
    assert train(home, "warn") == 0
    report = json.loads((home / "run/check.json").read_text())
    assert [one["kind"] for one in report["findings"] if one["severity"] == "severe"] == ["duplicate"]
    assert "check: duplicate: 2 images" in (home / "run/train.log").read_text()


def test_strict_stops_before_training(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leak(home)
    assert train(home, "strict") == 2
    assert "data.check=strict" in capsys.readouterr().err
    assert (home / "run/check.json").is_file()
    assert not (home / "run/metrics.csv").exists()


def test_off(home: Path) -> None:
    leak(home)
    assert train(home, "off") == 0
    assert not (home / "run/check.json").exists()
