import logging
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from medimg.config.data import (
    CovidPhantomConfig,
    CovidXrayConfig,
    CTConfig,
    CTPhantomConfig,
    ImageFolderConfig,
    ManifestConfig,
)
from medimg.data.load import load_manifest
from medimg.data.manifest import write_manifest_csv
from medimg.errors import RequestError


def class_folders(root: Path, names: tuple[str, ...] = ("COVID-19", "Normal"), n: int = 10) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(n):
            (root / name / f"p{i // 2}_{i}.png").write_bytes(b"x" * i)
    return root


def test_folder_to_splits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = CovidXrayConfig(root=str(class_folders(tmp_path)), patient_regex=r"([^/]+/p\d)_")
    with caplog.at_level(logging.INFO):
        manifest = load_manifest(config, tmp_path / "cache")
    assert manifest.classes == ("normal", "covid")
    assert manifest.positive_class == "covid"
    assert manifest.split_unit == "patient"
    assert not manifest.synthetic
    assert manifest.counts() == {"train": {"normal": 8, "covid": 8}, "val": {"normal": 2, "covid": 2}}
    assert "20 images, split by patient: train 16 (normal 8, covid 8); val 4" in caplog.text
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warning == "Validation has 1 patient of covid, 1 patient of normal: the best epoch is chosen on very little."


def test_enough_validation_is_not_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = CovidXrayConfig(root=str(class_folders(tmp_path, n=50)), patient_regex=r"([^/]+/p\d+)_", val_fraction=0.2)
    manifest = load_manifest(config, tmp_path / "cache")
    assert manifest.counts()["val"] == {"normal": 10, "covid": 10}
    assert "very little" not in caplog.text


def test_split_by_image_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manifest = load_manifest(ImageFolderConfig(root=str(class_folders(tmp_path))), tmp_path)
    assert manifest.classes == ("COVID-19", "Normal")
    assert "split is by image" in caplog.text


def test_a_written_manifest_gives_the_same_split_back(tmp_path: Path) -> None:
    config = CovidXrayConfig(root=str(class_folders(tmp_path / "data")), folds=3, fold=1)
    manifest = load_manifest(config, tmp_path)
    write_manifest_csv(manifest, tmp_path / "run" / "manifest.csv")
    again = load_manifest(
        ManifestConfig(root=str(tmp_path / "run" / "manifest.csv"), classes=manifest.classes), tmp_path
    )
    assert again.fingerprint() == manifest.fingerprint()
    assert again.classes == manifest.classes
    assert again.positive_class == manifest.positive_class


@pytest.mark.parametrize(("config", "what"), [(CTConfig(), "folder"), (ManifestConfig(), "CSV")])
def test_root_is_needed(tmp_path: Path, config: CTConfig | ManifestConfig, what: str) -> None:
    with pytest.raises(RequestError, match=f"data.root is needed: the {what}"):
        load_manifest(config, tmp_path)


@pytest.mark.parametrize("kind", [CTPhantomConfig, CovidPhantomConfig])
def test_phantoms(tmp_path: Path, kind: type[CTPhantomConfig | CovidPhantomConfig]) -> None:
    config = kind(patients_per_class=6, images_per_patient=2, size=16)
    manifest = load_manifest(config, tmp_path)
    assert manifest.synthetic
    assert manifest.split_unit == "patient"
    assert manifest.classes == config.classes
    assert set(manifest.counts()) == {"train", "val", "test"}
    assert manifest.root.is_relative_to(tmp_path)
    assert load_manifest(config, tmp_path) == manifest


def test_phantoms_read_no_root(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load_manifest(CovidPhantomConfig(patients_per_class=6, size=16, root="mine"), tmp_path)
    assert "data.root=mine is not read" in caplog.text


def test_classes_are_checked(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="'COVID-19' is none of the expected classes"):
        load_manifest(CTConfig(root=str(class_folders(tmp_path))), tmp_path)


def test_nothing_heavy_is_imported() -> None:
    files = ("manifest", "sources", "classes", "splits", "load")
    code = "\n".join(f"import medimg.data.{name}" for name in files)
    code += "\nimport sys; print([name for name in ('torch', 'sklearn', 'numpy', 'PIL') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_manifest_goes_back_to_the_group_that_made_it(tmp_path: Path) -> None:
    for name in ("train/COVID", "train/normal"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(6):
            Image.new("L", (8, 8), number).save(tmp_path / "images" / name / f"{number}.png")
    first = load_manifest(CovidXrayConfig(root=str(tmp_path / "images")), tmp_path)
    write_manifest_csv(first, tmp_path / "run" / "manifest.csv")
    again = load_manifest(CovidXrayConfig(root=str(tmp_path / "run" / "manifest.csv")), tmp_path)
    assert (again.classes, again.positive_class) == (("normal", "covid"), "covid")
    assert again.fingerprint() == first.fingerprint()


@pytest.mark.parametrize(("shared", "said"), [("p0", "1 patient stands in"), ("p", "2 patients stand in")])
def test_known_patients_on_two_sides_are_no_reason_to_ask_for_patients(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, shared: str, said: str
) -> None:
    root = class_folders(tmp_path / "images", ("train/a", "train/b", "test/a", "test/b"), n=4)
    paths = [file.relative_to(root).as_posix() for file in sorted(root.rglob("*.png"))]
    patients = [path[:-6] if f"/a/{shared}" not in path else path[:-6].partition("/")[2] for path in paths]
    rows = [f"{path},{patient}" for path, patient in zip(paths, patients, strict=True)]
    (root / "metadata.csv").write_text("\n".join(["path,patient_id", *rows]))
    config = ImageFolderConfig(root=str(root), val_fraction=0, allow_patient_overlap=True)
    assert load_manifest(config, tmp_path).split_unit == "image"
    assert f"{said} more than one of the source's splits: 'a/p0'" in caplog.text
    assert "the split counts as one by image" in caplog.text
    assert "patient_id column" not in caplog.text
