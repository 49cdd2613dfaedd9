"""Slices of volumes against SimpleITK, which has an orientation filter of its own."""

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from medical_files import make_volume
from numpy.typing import NDArray

from medimg.data.readers import read_image
from medimg.data.readers.nifti import look_at_header
from medimg.errors import RequestError

RNG = np.random.default_rng(0)
HU = RNG.integers(-1024, 2000, (5, 6, 7)).astype(np.int16)


def by_itk(file: Path) -> NDArray[Any]:
    """[slices, rows, columns] with columns to the left, rows to the back, slices to the head."""
    return np.asarray(sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(file)), "LPS")))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, 1)])
def test_slices_are_axial_and_the_same_way_up(
    tmp_path: Path, suffix: str, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) * signs)[:, list(order)] * 2
    turn = np.array([[0.995, -0.0998, 0], [0.0998, 0.995, 0], [0, 0, 1]])  # six degrees oblique
    affine[:3, :3] = turn @ affine[:3, :3]
    file = make_volume(tmp_path / f"v{suffix}", HU, affine)
    expected = by_itk(file)
    assert look_at_header(file, windowed=True) == (len(expected), None)
    for frame, plane in enumerate(expected):
        image = read_image(file, 1, frame=frame, window="lung").numpy()[0]
        assert np.allclose(image, np.clip((plane + 1350.0) / 1500, 0, 1), atol=1e-6)


def test_the_front_is_up_and_the_right_of_the_patient_is_left(tmp_path: Path) -> None:
    values = np.zeros((4, 5, 3), dtype=np.uint8)
    values[3, 4, 2] = 255  # identity affine: the most right, front and upper voxel
    values[0, 4, 2] = 100
    image = read_image(make_volume(tmp_path / "v.nii", values), 1, frame=2).numpy()[0]
    assert image.shape == (5, 4)
    assert image[0].tolist() == [255, 0, 0, 100]


def test_scaling_of_the_header(tmp_path: Path) -> None:
    stored = RNG.integers(0, 4096, (5, 6, 2)).astype(np.uint16)
    image = nibabel.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(0.5, -1000)
    image.set_data_dtype(np.uint16)
    raw = bytearray(image.to_bytes())
    raw[112:120] = np.array([0.5, -1000], dtype="<f4").tobytes()
    file = tmp_path / "v.nii"
    file.write_bytes(raw)
    expected = np.clip((by_itk(file)[1] + 160.0) / 400, 0, 1)
    assert np.allclose(read_image(file, 1, frame=1, window=[40, 400]).numpy()[0], expected, atol=1e-5)


def test_ranges_without_a_window(tmp_path: Path) -> None:
    shown = nibabel.Nifti1Image(HU, np.eye(4))
    shown.header["cal_min"], shown.header["cal_max"] = -100, 300
    nibabel.save(shown, tmp_path / "cal.nii")
    expected = np.clip((by_itk(tmp_path / "cal.nii")[0] + 100.0) / 400, 0, 1)
    assert np.allclose(read_image(tmp_path / "cal.nii", 1, frame=0).numpy()[0], expected, atol=1e-6)
    floats = make_volume(tmp_path / "f.nii", RNG.random((5, 6, 2), dtype=np.float32))
    assert np.array_equal(read_image(floats, 1, frame=1).numpy()[0], by_itk(floats)[1])
    deep = make_volume(tmp_path / "u.nii", RNG.integers(0, 65536, (5, 6, 2)).astype(np.uint16))
    assert np.allclose(read_image(deep, 3, frame=1).numpy()[2], by_itk(deep)[1] / 65535)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (HU, {"frame": 0}, "black and white is unknown.*data.window=lung"),
        (HU, {"window": "lung"}, "holds 7 slices"),
        (HU, {"window": "lung", "frame": 7}, "slice 7 was asked for"),
        (HU.astype(np.uint8), {"window": "lung", "frame": 0}, "8-bit values"),
        (np.zeros((2, 2, 2, 3), np.int16), {"frame": 0}, r"no single volume \(2x2x2x3"),
        (np.zeros((2, 2, 2), np.complex64), {"frame": 0}, "complex"),
        (np.full((2, 2, 2), np.nan, np.float32), {"frame": 0}, "nan"),
        (np.full((2, 2, 2), np.inf, np.float32), {"frame": 0, "window": "lung"}, "not finite"),
    ],
)
def test_refused(tmp_path: Path, values: NDArray[Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_image(make_volume(tmp_path / "v.nii", values), 1, **options)


def test_sizes_that_the_file_cannot_hold(tmp_path: Path) -> None:
    raw = bytearray(make_volume(tmp_path / "v.nii", HU).read_bytes())
    raw[42:48] = np.array([30_000, 30_000, 30_000], dtype="<i2").tobytes()
    (tmp_path / "v.nii").write_bytes(raw)
    (tmp_path / "v.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    for file in (tmp_path / "v.nii", tmp_path / "v.nii.gz"):
        with pytest.raises(RequestError, match="cut off"):
            look_at_header(file, windowed=False)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = make_volume(tmp_path / "v.nii.gz", np.zeros((4, 4, 2), np.uint8))
    assert read_image(file, 1, frame=0).max() == 0
    make_volume(file, np.full((4, 4, 3), 7, np.uint8))
    assert read_image(file, 1, frame=2).min() == 7
