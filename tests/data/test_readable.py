"""Images that cannot be read: left out where that is asked for, counted, named, and in no metric."""

import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from medical_files import make_dicom

from medimg.config.compose import load
from medimg.data.load import load_manifest
from medimg.data.manifest import Manifest, Record
from medimg.data.readers.refusals import missing_extra
from medimg.errors import RequestError
from medimg.runs import RunFolder
from medimg.training.job import run_job

COUNTS = {"train/a": 8, "train/b": 8, "val/a": 3, "val/b": 3, "test/a": 2, "test/b": 2}


@pytest.fixture
def broken(make_folder: Callable[..., Path]) -> tuple[Path, set[str]]:
    """A folder in which one image of each split is cut off, empty, or no image at all."""
    root = make_folder(COUNTS)
    bad = {}
    for split, content in (("train/a", "cut"), ("val/b", "empty"), ("test/a", "text")):
        file = sorted((root / split).iterdir())[1]
        whole = file.read_bytes()
        bad[file] = {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"no image"}[content]
    for file, damage in bad.items():
        file.write_bytes(damage)
    return root, {file.relative_to(root).as_posix() for file in bad}


def overrides(root: Path, home: Path) -> list[str]:
    tiny = ["data.image_size=8", "data.num_workers=0", "model.widths=[4]", "trainer.max_epochs=1", "logger=none"]
    return ["data=image_folder", f"data.root={root}", *tiny, "trainer.accelerator=cpu", f"paths.cache={home / 'cache'}"]


def test_they_are_left_out_counted_and_named(
    broken: tuple[Path, set[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, bad = broken
    folder = RunFolder(tmp_path / "run")
    with caplog.at_level(logging.WARNING, logger="medimg"):
        run_job(load([*overrides(root, tmp_path), "data.on_error=skip"]), folder, in_sweep=False)
    assert "3 images are left out" in caplog.text
    info = folder.info()
    assert info["skipped"]["count"] == 3
    assert set(info["skipped"]["files"]) == bad
    seen = set()
    for split, images in (("val", 5), ("test", 3)):
        with folder.predictions(split).open(newline="") as stream:
            paths = [row["path"] for row in csv.DictReader(stream)]
        assert len(paths) == images
        seen |= set(paths)
    assert not seen & bad
    assert "partial" not in json.loads(folder.results_file.read_text())


def test_what_cannot_be_read_has_no_influence_on_the_split(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    """The patients of all others are known, and the split is what it would be without the file."""
    root = make_folder({"a": 20, "b": 20})
    given = [*overrides(root, tmp_path), r"data.patient_regex='^(./\d_0\d)'"]
    sound = load_manifest(load(given).data, tmp_path / "cache")
    assert sound.split_unit == "patient"
    (root / "a" / "stray.png").write_bytes(b"no image, and no patient")
    (root / "b" / "empty.png").write_bytes(b"")
    with pytest.raises(RequestError, match="patient_regex"):
        load_manifest(load(given).data, tmp_path / "cache")
    found = load_manifest(load([*given, "data.on_error=skip"]).data, tmp_path / "cache")
    assert set(found.skipped) == {"a/stray.png", "b/empty.png"}
    assert (found.records, found.split_unit) == (sound.records, "patient")
    assert found.fingerprint() == sound.fingerprint()


def test_damaged_dicom_files_leave_the_split_by_patient(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stored = np.arange(48, dtype=np.uint16).reshape(6, 8)
    for label in "ab":
        for number in range(10):
            make_dicom(tmp_path / "ct" / label / f"{number}.dcm", stored + number, PatientID=f"{label}{number // 2}")
    for name in ("a/cut.dcm", "b/return.png", "b/empty.png"):
        (tmp_path / "ct" / name).write_bytes(b"" if "empty" in name else b"\r")
    given = [*overrides(tmp_path / "ct", tmp_path), "data.window=lung"]
    caplog.clear()
    manifest = load_manifest(load([*given, "data.on_error=skip"]).data, tmp_path / "cache")
    assert set(manifest.skipped) == {"a/cut.dcm", "b/return.png", "b/empty.png"}
    assert "0 bytes" in manifest.skipped["b/empty.png"]
    assert "no image of a known format" in manifest.skipped["b/return.png"]
    assert manifest.split_unit == "patient"
    assert "no patient_id" not in caplog.text
    assert len(manifest.records) == 20


def test_what_a_setting_cures_is_not_skipped(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 4, "b": 4})
    make_dicom(root / "a" / "x.dcm", np.zeros((6, 8), np.uint16))
    given = [*overrides(root, tmp_path), "data.on_error=skip", "data.window=lung"]
    with pytest.raises(RequestError, match=r"\(8 images\): data.window needs Hounsfield units, and this is a picture"):
        load_manifest(load(given).data, tmp_path / "cache")
    bare = make_dicom(tmp_path / "ct" / "a" / "x.dcm", np.zeros((6, 8), np.uint16), RescaleSlope=None)
    make_dicom(tmp_path / "ct" / "b" / "x.dcm", np.zeros((6, 8), np.uint16))
    given[1] = f"data.root={tmp_path / 'ct'}"  # only decoding tells
    with pytest.raises(RequestError, match=rf"{bare}: .*no rescale slope"):
        load_manifest(load(given).data, tmp_path / "cache")


def test_a_file_that_loses_its_permissions_is_left_out(
    make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"a": 6, "b": 6})
    config = load([*overrides(root, tmp_path), "data.on_error=skip"]).data
    assert not load_manifest(config, tmp_path / "cache").skipped  # the cache knows it as readable now
    closed, open_file = root / "a" / "0_002.png", Path.open

    def refused(file: Path, *arguments: Any, **options: Any) -> Any:
        if file == closed:
            raise PermissionError(13, "Permission denied", str(file))
        return open_file(file, *arguments, **options)

    monkeypatch.setattr(Path, "open", refused)
    manifest = load_manifest(config, tmp_path / "cache")
    assert set(manifest.skipped) == {"a/0_002.png"}
    assert "Permission denied" in manifest.skipped["a/0_002.png"]
    assert len(manifest.images_fingerprint()) == 64


def test_without_it_the_first_is_an_error(broken: tuple[Path, set[str]], tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        run_job(load(overrides(broken[0], tmp_path)), RunFolder(tmp_path / "run"), in_sweep=False)


def test_images_that_are_not_there_are_left_out_of_a_list(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"a": 4, "b": 4})
    paths = [file.relative_to(root).as_posix() for file in sorted(root.rglob("*.png"))]
    lines = [f"{path},{path[0]}" for path in [*paths, "a/vanished.png"]]
    (root / "list.csv").write_text("\n".join(["path,label", *lines]))
    given = [line for line in overrides(root, tmp_path) if not line.startswith("data")]
    source = [*given, "data=manifest", f"data.root={root / 'list.csv'}"]
    with pytest.raises(RequestError, match="vanished"):
        load_manifest(load(source).data, tmp_path / "cache")
    manifest = load_manifest(load([*source, "data.on_error=skip"]).data, tmp_path / "cache")
    assert set(manifest.skipped) == {"a/vanished.png"}
    assert len(manifest.records) == 8


def test_a_class_that_is_left_without_images_is_refused(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = make_folder({"train/a": 3, "train/b": 3, "val/a": 1, "val/b": 1})
    for file in (root / "train/a").iterdir():
        file.write_bytes(b"x")
    with pytest.raises(RequestError, match="no training image"):
        load_manifest(load([*overrides(root, tmp_path), "data.on_error=skip"]).data, tmp_path / "cache")


def test_what_is_mended_counts_again_and_what_breaks_later_does_not(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    root = make_folder({"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2})
    config = load([*overrides(root, tmp_path), "data.on_error=skip"]).data
    first, second = sorted((root / "train/a").iterdir())[:2]
    whole = first.read_bytes()

    def skipped() -> set[str]:
        return {Path(path).name for path in load_manifest(config, tmp_path / "cache").skipped}

    first.write_bytes(bytes(len(whole)))
    assert skipped() == {first.name}
    first.write_bytes(whole)
    second.write_bytes(bytes(len(second.read_bytes())))  # of the same size
    assert skipped() == {second.name}
    next((tmp_path / "cache" / "readable").iterdir()).write_text("{broken")
    assert skipped() == {second.name}


def test_missing_packages_are_no_fault_of_the_images(
    make_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_folder({"train/a": 3, "train/b": 3, "val/a": 2, "val/b": 2})

    def missing(self: Manifest, record: Record, channels: int) -> None:
        raise missing_extra(self.file(record), "its compression", "dicom")

    monkeypatch.setattr(Manifest, "read", missing)
    with pytest.raises(RequestError, match=r"medimg\[dicom\]"):
        load_manifest(load([*overrides(root, tmp_path), "data.on_error=skip"]).data, tmp_path / "cache")
