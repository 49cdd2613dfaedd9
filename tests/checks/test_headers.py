"""What the first bytes of a file say, and that nothing is opened that training would not open."""

from pathlib import Path

import numpy as np
import pytest
from medical_files import make_dicom, make_volume
from PIL import Image

from medimg.checks.headers import Header, read_header
from medimg.data.readers import read_image
from medimg.errors import RequestError


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_pictures(tmp_path: Path, mode: str) -> None:
    file = tmp_path / "x.png"
    Image.new(mode, (9, 5)).save(file)
    bits = {"1": 1, "I;16": 16}.get(mode, 8)
    assert read_header(file) == Header("PNG", mode, bits, (5, 9), file.stat().st_size)


def test_dicom_files_say_their_size_and_depth_and_nothing_of_the_patient(tmp_path: Path) -> None:
    file = make_dicom(tmp_path / "x.dcm", np.zeros((6, 4), np.uint16), bits=12)
    assert read_header(file) == Header("DICOM", "MONOCHROME2", 12, (6, 4), file.stat().st_size)
    odd = make_dicom(tmp_path / "odd.dcm", np.zeros((6, 4), np.uint16), PhotometricInterpretation="SECRET NAME")
    header = read_header(odd)
    assert isinstance(header, Header)
    assert (header.mode, header.size) == ("", (6, 4))


def test_a_dicom_file_that_is_cut_off_is_one_of_unknown_size(tmp_path: Path) -> None:
    file = make_dicom(tmp_path / "x.dcm", np.zeros((6, 4), np.uint16))
    file.write_bytes(file.read_bytes()[:200])
    assert read_header(file) == Header("DICOM", "", None, None, 200)


def test_volumes_are_told_by_content(tmp_path: Path) -> None:
    file = make_volume(tmp_path / "x.nii.gz", np.zeros((4, 4, 2), np.uint8))
    assert read_header(file) == Header("NIFTI", "", None, None, file.stat().st_size)


@pytest.mark.parametrize("suffix", [".eps", ".pcx", ".ico", ".tga", ".sgi"])
def test_what_training_does_not_open_is_no_image_here_either(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"x{suffix}"
    Image.new("RGB", (32, 32)).save(file)
    assert Image.open(file).size == (32, 32)
    with pytest.raises(RequestError, match="no image of a known format"):
        read_image(file, 3)
    assert read_header(file) == "it is no image of a known format"


def test_what_is_not_there_or_empty_has_no_header(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert read_header(tmp_path / "empty.png") == "it is empty (0 bytes)"
    assert read_header(tmp_path / "gone.png") == "No such file or directory"
