"""What DICOM and NIfTI files add to a manifest, and what of them must never be seen."""

import csv
import logging
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest
from medical_files import SECRETS, make_dicom, make_volume
from PIL import Image

from medimg.config.data import DataConfig, ImageFolderConfig, ManifestConfig
from medimg.data.load import list_images, load_manifest
from medimg.data.manifest import Manifest, write_manifest_csv
from medimg.data.problems import gathered
from medimg.data.readers import read_image
from medimg.errors import RequestError

STORED = np.arange(48, dtype=np.uint16).reshape(6, 8)


def config(root: Path, **options: object) -> DataConfig:
    return ImageFolderConfig(root=str(root), **({"val_fraction": 0} | options))  # type: ignore[arg-type]


def dicom_folder(root: Path, **tags: object) -> Path:
    """Two patients a class, one with files without a suffix; a DICOMDIR lies beside them."""
    for label in ("sick", "well"):
        for name, patient, study in (("1.dcm", "A", "1.1"), ("2.dcm", "A", "1.2"), ("IM3", "B", "1.3"), ("1.2.84.5", "B", "1.3")):  # fmt: skip # noqa: E501
            make_dicom(root / label / name, STORED, PatientID=f"{label}-{patient}", StudyInstanceUID=study, **tags)
        make_dicom(root / label / "DICOMDIR", STORED)
        (root / label / "notes").write_text("no image")
    return root


def test_patients_and_studies_of_a_dicom_folder(tmp_path: Path) -> None:
    manifest = load_manifest(config(dicom_folder(tmp_path)), tmp_path)
    assert manifest.split_unit == "patient"
    found = {record.path: (record.patient_id, record.columns, record.frame) for record in manifest.records}
    assert len(found) == 8
    assert found["sick/1.dcm"] == ("sick-A", {"study": "1.1"}, None)
    assert found["well/1.2.84.5"] == found["well/IM3"] == ("well-B", {"study": "1.3"}, None)


def test_the_source_goes_before_the_header(tmp_path: Path) -> None:
    root = dicom_folder(tmp_path / "data")
    (root / "metadata.csv").write_text("path,patient_id,study\nsick/1.dcm,own,7\n")
    records = {record.path: record for record in load_manifest(config(root), tmp_path).records}
    assert (records["sick/1.dcm"].patient_id, records["sick/1.dcm"].columns) == ("own", {"study": "7"})
    assert records["sick/2.dcm"].patient_id == "sick-A"
    manifest = load_manifest(config(root, patient_regex="(sick|well)"), tmp_path)
    assert {record.patient_id for record in manifest.records} == {"sick", "well"}


def test_the_study_stands_for_a_patient_without_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for label in ("sick", "well"):
        make_dicom(tmp_path / label / "1.dcm", STORED, PatientID="", StudyInstanceUID=f"1.2.{len(label)}")
        make_dicom(tmp_path / label / "2.dcm", STORED, PatientID=None, StudyInstanceUID=None)
    with caplog.at_level(logging.INFO):
        records = load_manifest(config(tmp_path), tmp_path).records
    assert [record.patient_id for record in records] == ["1.2.4", None, "1.2.4", None]
    assert "2 DICOM files name no patient: their study" in caplog.text


def test_one_patient_id_for_all_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for label, study in (("sick", "1.2"), ("well", "1.3")):
        make_dicom(tmp_path / label / "1.dcm", STORED, PatientID="ANON", StudyInstanceUID=study)
    load_manifest(config(tmp_path), tmp_path)
    assert "same PatientID, in 2 studies" in caplog.text
    assert "ANON" not in caplog.text


def test_frames_are_refused_or_expanded(tmp_path: Path) -> None:
    stack = np.arange(3 * 48, dtype=np.uint16).reshape(3, 6, 8)
    for label in ("sick", "well"):
        make_dicom(tmp_path / label / "x.dcm", stack, NumberOfFrames=3, PatientID=label)
    with pytest.raises(RequestError, match=r"2 of the DICOM files hold several frames: .*multiframe=expand"):
        load_manifest(config(tmp_path), tmp_path)
    manifest = load_manifest(config(tmp_path, multiframe="expand"), tmp_path)
    assert [record.path for record in manifest.records[:3]] == [f"sick/x.dcm#00{frame}" for frame in range(3)]
    assert {record.patient_id for record in manifest.records} == {"sick", "well"}
    last = manifest.records[2]
    image = read_image(manifest.file(last), 1, frame=last.frame)
    assert np.allclose(image.numpy()[0], stack[2] / 4095, atol=1e-6)


def test_slices_of_volumes(tmp_path: Path) -> None:
    for label in ("sick", "well"):
        make_volume(tmp_path / "data" / label / "a.nii.gz", np.zeros((4, 5, 3), np.uint8))
        make_volume(tmp_path / "data" / label / "b.nii", np.zeros((4, 5, 1), np.uint8))
        (tmp_path / "data" / label / "c.nii").write_bytes(b"broken")
    manifest = load_manifest(config(tmp_path / "data"), tmp_path)
    assert [record.path for record in manifest.records[:5]] == [
        "sick/a.nii.gz#000", "sick/a.nii.gz#001", "sick/a.nii.gz#002", "sick/b.nii", "sick/c.nii"
    ]  # fmt: skip
    assert [record.patient_id for record in manifest.records[:5]] == ["sick/a"] * 3 + ["sick/b", "sick/c"]
    write_manifest_csv(manifest, tmp_path / "run" / "manifest.csv")
    again = load_manifest(ManifestConfig(root=str(tmp_path / "run" / "manifest.csv"), val_fraction=0), tmp_path)
    assert again.fingerprint() == manifest.fingerprint()
    assert [record.frame for record in again.records] == [record.frame for record in manifest.records]
    whole = "path,label,patient_id\nsick/a.nii.gz,x,p\nwell/a.nii.gz,y,q\n"
    (tmp_path / "data" / "own.csv").write_text(whole)
    own = load_manifest(ManifestConfig(root=str(tmp_path / "data" / "own.csv"), val_fraction=0), tmp_path)
    assert [(record.path, record.patient_id) for record in own.records[2:4]] == [
        ("sick/a.nii.gz#002", "p"), ("well/a.nii.gz#000", "q")
    ]  # fmt: skip
    for row in ("-1", "1.5", "x"):
        (tmp_path / "data" / "own.csv").write_text(f"path,label,medimg_frame\nsick/a.nii.gz,x,{row}\n")
        with pytest.raises(RequestError, match="row 2: medimg_frame is"):
            load_manifest(ManifestConfig(root=str(tmp_path / "data" / "own.csv")), tmp_path)


def test_windows_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    for label in ("sick", "well"):
        (tmp_path / "png" / label).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "png" / label / "x.png")
        make_dicom(tmp_path / "dx" / label / "x.dcm", STORED, Modality="DX")
    for root, why in (("png", "this is a picture"), ("dx", "this DICOM file is no CT")):
        with pytest.raises(RequestError, match=f"data.window needs Hounsfield units, and {why}"):
            load_manifest(config(tmp_path / root, window="lung"), tmp_path)


@pytest.mark.parametrize("content", [b"", b"\r"])
@pytest.mark.parametrize("name", ["x.png", "x.dcm", "x.nii"])
def test_what_is_no_image_is_no_picture_either(tmp_path: Path, name: str, content: bytes) -> None:
    for label in ("sick", "well"):
        make_dicom(tmp_path / label / "1.dcm", STORED, PatientID=label)
    (tmp_path / "sick" / name).write_bytes(content)
    manifest = load_manifest(config(tmp_path, window="lung"), tmp_path)
    (bad,) = [record for record in manifest.records if record.path.endswith(name)]
    with pytest.raises(RequestError, match=f"{name}: the image cannot be read: .*Replace it"):
        manifest.read(bad, 1)


def test_volumes_that_need_a_window_are_refused_when_they_are_listed(tmp_path: Path) -> None:
    for label in ("sick", "well"):
        for number in range(2):
            values = np.full((4, 5, 3), 100 * number - 50, np.int16)
            make_volume(tmp_path / "data" / label / f"{number}.nii", values)
    with pytest.raises(RequestError, match=r"\(12 images\): which of the values are black and white is unknown"):
        load_manifest(config(tmp_path / "data"), tmp_path)
    manifest = load_manifest(config(tmp_path / "data", window="lung"), tmp_path)
    write_manifest_csv(manifest, tmp_path / "manifest.csv")  # whose records have frames already
    again = ManifestConfig(root=str(tmp_path / "manifest.csv"), val_fraction=0)
    with pytest.raises(RequestError, match=r"data\.window=lung"):
        load_manifest(again, tmp_path)
    with gathered() as problems:
        list_images(config(tmp_path / "data"), tmp_path)
    assert [(problem.kind, len(problem.files)) for problem in problems] == [("needs_setting", 12)]


@pytest.mark.parametrize(("package", "extra"), [("pydicom", "dicom"), ("nibabel", "nifti")])
def test_missing_packages_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str) -> None:
    for label in ("sick", "well"):
        if package == "pydicom":
            file = make_dicom(tmp_path / label / "x.dcm", STORED)
        else:
            file = make_volume(tmp_path / label / "x.nii", np.zeros((2, 2, 2), np.uint8))
    monkeypatch.delitem(sys.modules, package)
    for module in ("dicom_ids", "nifti"):
        monkeypatch.setattr(f"medimg.data.readers.{module}.find_spec", lambda name: None)
    for attempt in (lambda: load_manifest(config(tmp_path), tmp_path), lambda: read_image(file, 1)):
        with pytest.raises(RequestError, match=rf"pip install 'medimg\[{extra}\]'"):
            attempt()


def test_nothing_of_a_patient_but_the_ids_leaves_the_file(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    root = dicom_folder(tmp_path / "data")
    invalid = {"PatientName": SECRETS[0], "StudyDate": "Doe^Secret"}  # no date: pydicom quotes it in its warnings
    bad = [make_dicom(root / "sick" / f"bad{number}.dcm", STORED, **invalid) for number in range(3)]
    bad[0].write_bytes(bad[0].read_bytes()[:-20])
    raw = bad[1].read_bytes()
    bad[1].write_bytes(raw.replace(b"MONOCHROME2", b"Doe^Secret "))
    bad[2].write_bytes(raw.replace(b"-1024", b"Doe^S"))
    assert bad[2].read_bytes() != raw
    caplog.clear()
    recwarn.clear()
    said: list[str] = []
    with caplog.at_level(logging.DEBUG):
        manifest = load_manifest(config(root), tmp_path)
        for record in manifest.records:
            try:
                read_image(manifest.file(record), 1, window=None)
            except RequestError as error:
                said.append("".join(traceback.format_exception(error)))
    assert len(said) == 3
    write_manifest_csv(manifest, tmp_path / "manifest.csv")
    written = (tmp_path / "manifest.csv").read_text()
    seen = "\n".join([*said, caplog.text, *capfd.readouterr(), written, *(str(warning.message) for warning in recwarn)])
    assert "sick-A" in seen
    for secret in (*SECRETS, "Secret", "Doe"):
        assert secret not in seen
    columns = next(csv.reader((tmp_path / "manifest.csv").open()))
    assert columns == ["path", "label", "split", "patient_id", "medimg_file", "study"]


def test_records_do_not_depend_on_the_order_of_files(tmp_path: Path) -> None:
    manifest = load_manifest(config(dicom_folder(tmp_path)), tmp_path)
    turned = Manifest(root=manifest.root, records=tuple(reversed(manifest.records)), classes=manifest.classes)
    assert turned.fingerprint() == manifest.fingerprint()
