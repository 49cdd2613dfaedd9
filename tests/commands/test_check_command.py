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


def test_strict_shows_what_only_the_split_of_the_run_has(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """medimg cuts the validation split, and copies stand on both sides of it: the source itself has no such finding."""
    shutil.rmtree(home / "images/test")
    for file in home.glob("images/train/*/*.png"):
        shutil.copy(file, file.with_name(f"again_{file.name}"))
    assert main(CHECK) == 0
    capsys.readouterr()
    assert train(home, "strict") == 2
    said = capsys.readouterr().err
    report = json.loads((home / "run/check.json").read_text())
    severe = [one for one in report["findings"] if one["severity"] == "severe"]
    assert severe[0]["files"][0] in said
    assert "in different splits: train, val" in said
    assert "data.group_by=near_duplicates" in said
    assert "a patient_id" in said
    assert str(home / "run/check.json") in said
    assert main(["train", "data=image_folder", "data.root=images", "data.check=strict", *TINY, *GROUPED]) == 0


GROUPED = ["data.group_by=near_duplicates", "trainer.max_epochs=1", "data.image_size=16", "model.widths=[4]"]


def test_lines_in_the_log_are_short_and_say_where_the_rest_is(home: Path) -> None:
    leak(home)
    assert train(home, "warn") == 0
    lines = [line for line in (home / "run/train.log").read_text().splitlines() if "check: " in line]
    assert lines
    assert all(line.endswith("; see check.json") and len(line) < 250 for line in lines)


def test_the_data_keys_are_recorded(home: Path) -> None:
    assert main([*CHECK, "data.group_by=blocks", "data.block_size=3"]) == 0
    data = written(home)["data"]
    assert isinstance(data, dict)
    assert train(home, "warn") == 0
    of_run = json.loads((home / "run/check.json").read_text())["data"]
    assert data["root"] == of_run["root"] == str(home / "images")
    assert (data["group_by"], data["block_size"]) == ("blocks", 3)
    assert (of_run["group_by"], of_run["image_size"], of_run["name"]) == (None, 16, "image_folder")


def test_groups_are_known(home: Path) -> None:
    """Blocks of three numbers of each folder: none is torn by the source's split, and no image is on its own."""
    assert main([*CHECK, "data.group_by=blocks", "data.block_size=3"]) == 0
    findings = written(home)["findings"]
    assert isinstance(findings, list)
    messages = {one["kind"]: one["message"] for one in findings}
    assert messages["patient_groups"] == "12 groups of 32 images stand in for patients; the largest has 3 images."
    assert "patient_unknown" not in messages
    assert written(home)["unit"] == "groups"


def test_off(home: Path) -> None:
    leak(home)
    assert train(home, "off") == 0
    assert not (home / "run/check.json").exists()
