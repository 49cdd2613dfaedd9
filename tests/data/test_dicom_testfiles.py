"""pydicom's own test files: each is read to the values that SimpleITK reads, or refused; none crashes."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from medimg.data.readers import read_image
from medimg.data.readers.dicom_ids import _with_pydicom, read_ids
from medimg.errors import RequestError

HOME = Path(pydicom.__file__).parent / "data" / "test_files"
JPEG = {"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"}
FILES = sorted(file for file in HOME.rglob("*") if file.is_file())
# SimpleITK mixes up the bytes of RLE colour of more than 8 bits; pydicom has the same picture in 8 bits
SIBLINGS = {"SC_rgb_rle_16bit.dcm": "SC_rgb_rle.dcm", "SC_rgb_rle_32bit.dcm": "SC_rgb_rle.dcm"}


def independent(file: Path) -> NDArray[np.float64] | None:
    """[H, W] or [H, W, 3] by SimpleITK, rescaled; None where it cannot read the file."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    try:
        return sitk.GetArrayFromImage(reader.Execute()).astype(float)[0]  # type: ignore[no-any-return]
    except RuntimeError:
        return None


def in_unit(values: NDArray[np.float64], data: pydicom.Dataset) -> NDArray[np.float64]:
    """What the documentation promises of rescaled values, written anew: window, range of CT, or stored bits."""
    if values.ndim == 3:
        return values / (2**data.BitsStored - 1)
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    if data.PhotometricInterpretation == "MONOCHROME1":  # SimpleITK has turned the stored numbers over
        values = (2**data.BitsStored - 1 - (values - intercept) / slope) * slope + intercept
    ends = [0, 2**data.BitsStored - 1]
    if data.PixelRepresentation:
        ends = [-(2 ** (data.BitsStored - 1)), 2 ** (data.BitsStored - 1) - 1]
    low, high = sorted(end * slope + intercept for end in ends)
    if data.get("Modality") == "CT" and "RescaleSlope" in data:
        low, high = -1024, 3071
    if "WindowCenter" in data:
        center, width = (float(np.atleast_1d(data[name].value)[0]) for name in ("WindowCenter", "WindowWidth"))
        low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    unit = np.clip((values - low) / (high - low), 0, 1)
    return 1 - unit if data.PhotometricInterpretation == "MONOCHROME1" else unit


def test_pixels_are_those_of_an_independent_reader() -> None:
    compared, alone, refused, wrong = [], [], [], []
    for file in FILES:
        try:
            ours = read_image(file, 3).numpy().transpose(1, 2, 0)
        except RequestError as error:
            assert str(file) in str(error)
            refused.append(file.name)
            continue
        by = HOME / SIBLINGS.get(file.name, file)
        theirs, data = independent(by), pydicom.dcmread(by)
        if theirs is None:
            alone.append(file.name)
            continue
        compared.append(file.name)
        expected = in_unit(theirs, data)
        expected = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=2)
        assert ours.shape == expected.shape
        # decoders of lossy JPEG round in their own ways; SimpleITK cuts palettes to 8 bits
        lossy = data.file_meta.TransferSyntaxUID in JPEG or data.PhotometricInterpretation == "PALETTE COLOR"
        difference = float(np.abs(ours - expected).max())
        if difference > (2.01 / 255 if lossy else 1e-5):
            wrong.append((file.name, difference))
    assert not wrong
    assert len(compared) == 79, refused
    assert {name[:6] for name in alone} == {"rtdose"}  # SimpleITK reads no doses
    # files of the format's structure alone hold pixel data without a size
    wanted = ("PixelData", "Rows")
    headers = {file.name: pydicom.dcmread(file, force=True) for file in FILES if file.suffix == ".dcm"}
    pictures = {name for name, header in headers.items() if all(tag in header for tag in wanted)}
    several = {name for name in pictures if "2frame" in name} | {"examples_ybr_color.dcm"}
    several |= {"rtdose.dcm", "rtdose_expb.dcm", "rtdose_rle.dcm"}
    damaged = {"JPEG-lossy.dcm", "JPEG2000-embedded-sequence-delimiter.dcm", "MR_truncated.dcm", "badVR.dcm"}
    assert pictures & set(refused) == several | damaged


@pytest.mark.filterwarnings("error")
def test_reading_says_nothing(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.DEBUG):
        for file in FILES:
            read_ids(file)
            try:
                read_image(file, 1)
            except RequestError as error:
                assert error.__cause__ is None or "DICM" not in str(error.__cause__)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_ids_are_those_that_pydicom_reads() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [(read_ids(file), _with_pydicom(file)) for file in FILES]
    assert [ours for ours, _ in found] == [theirs for _, theirs in found]
    patients: list[Any] = [ids.patient for ids, _ in found if ids is not None]
    assert "4MR1" in patients and "1CT1" in patients
