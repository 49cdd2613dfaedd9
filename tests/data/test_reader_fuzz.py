"""Random bytes, cut files and changed bytes in every format: read, or refused with the file's name; never a crash."""

import gzip
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from medical_files import make_dicom, make_medmnist, make_volume
from PIL import Image
from pydicom import dcmread
from pydicom.uid import JPEG2000Lossless, RLELossless

from medimg.data.frames import expand_files
from medimg.data.manifest import Manifest, Record
from medimg.data.medmnist import read_medmnist
from medimg.data.readers import read_image
from medimg.errors import RequestError

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PIXELS = np.arange(66 * 65, dtype=np.uint16).reshape(66, 65) % 4096
KINDS = ("x.png", "x.jpg", "x.tif", "x.webp", "x.gif", "x.dcm", "rle.dcm", "j2k.dcm", "x.nii", "x.nii.gz", "x.npz")


@cache
def good(name: str) -> bytes:
    """A small file of each format."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / name
        if name.endswith(".dcm"):
            make_dicom(file, PIXELS)
            if name != "x.dcm":
                data = dcmread(file)
                data.compress(RLELossless if name == "rle.dcm" else JPEG2000Lossless)
                data.save_as(file)
        elif ".nii" in name:
            make_volume(file, PIXELS.reshape(66, 13, 5).astype(np.uint16))
        elif name == "x.npz":
            make_medmnist(file, {"train": 4, "test": 2}, shape=(8, 8))
        else:
            buffer = BytesIO()
            Image.fromarray(PIXELS.astype(np.uint8)).save(
                buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(name[2:], name[2:])
            )
            file.write_bytes(buffer.getvalue())
        return file.read_bytes()


def attempt(file: Path, data: bytes) -> None:
    """Lists and reads the file in every way; anything but a RequestError that names it goes through."""
    file.write_bytes(data)
    manifest = Manifest(root=file.parent, records=(Record(file.name, "a"),))
    windowed = replace(manifest, window="lung")
    work = [lambda: expand_files(manifest, "expand"), lambda: expand_files(windowed, "refuse")]
    work += [lambda frame=frame: read_image(file, 3, frame=frame) for frame in (None, 0)]
    work += [lambda: read_image(file, 1, frame=0, window="lung"), lambda: read_medmnist(file, None)]
    for step in work:
        try:
            step()
        except RequestError as error:
            assert file.name in str(error)


@QUICK
@given(name=st.sampled_from(KINDS), data=st.binary(max_size=600), magic=st.booleans())
def test_random_bytes(tmp_path: Path, name: str, data: bytes, magic: bool) -> None:
    attempt(tmp_path / name, (good(name)[:140] if magic else b"") + data)


@pytest.mark.parametrize("name", KINDS)
def test_cut_files(tmp_path: Path, name: str) -> None:
    whole = good(name)
    for length in {0, 1, 131, 132, 352, *range(0, len(whole), max(1, len(whole) // 12)), len(whole) - 1}:
        attempt(tmp_path / name, whole[:length])
    with pytest.raises(RequestError):
        read_image(tmp_path / name, 1, frame=None if "x.n" not in name else 0)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(RequestError, match="0 bytes"):
        read_image(tmp_path / name, 1)


@QUICK
@given(name=st.sampled_from(KINDS), data=st.data())
def test_changed_bytes(tmp_path: Path, name: str, data: st.DataObject) -> None:
    raw = bytearray(good(name))
    head = min(len(raw), 900)  # headers are where changes matter
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, head - 1))] = data.draw(st.integers(0, 255))
    attempt(tmp_path / name, bytes(raw))


@QUICK
@given(data=st.data())
def test_changed_headers_of_packed_volumes(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray(good("x.nii"))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, 351))] = data.draw(st.integers(0, 255))
    attempt(tmp_path / "x.nii.gz", gzip.compress(bytes(raw)))
