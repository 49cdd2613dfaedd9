"""DICOM pixels against what the standard's formulas give by hand, and against SimpleITK."""

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from medical_files import make_dicom
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from medimg.data.readers import read_image
from medimg.data.readers.dicom_ids import read_ids
from medimg.errors import RequestError

RNG = np.random.default_rng(0)
STORED = RNG.integers(0, 4096, (6, 5), dtype=np.uint16)
HU = STORED.astype(float) - 1024


LARGE = np.tile(STORED, (11, 13))  # JPEG 2000 has a smallest size


def grey(file: Path, **options: Any) -> NDArray[np.float32]:
    image = read_image(file, 1, **options)
    assert image.dtype == torch.float32
    assert image.min() >= 0
    assert image.max() <= 1
    return image.numpy()[0]


def unit(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    return np.clip((values - low) / (high - low), 0, 1)


def test_a_window_in_hounsfield_units(tmp_path: Path) -> None:
    file = make_dicom(tmp_path / "x.dcm", STORED)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(file)).squeeze(), HU)
    assert np.allclose(grey(file, window="lung"), unit(HU, -1350, 150), atol=1e-6)
    three = read_image(file, 3, window=["lung", [0, 10], "bone"]).numpy()
    for plane, ends in zip(three, [(-1350, 150), (-5, 5), (-500, 1300)], strict=True):
        assert np.allclose(plane, unit(HU, *ends), atol=1e-6)
    repeated = read_image(file, 3, window="bone")
    assert torch.equal(repeated[0], repeated[2])


def test_the_windows_of_the_file_by_the_formulas_of_the_standard(tmp_path: Path) -> None:
    linear = make_dicom(tmp_path / "a.dcm", STORED, WindowCenter=[40, 1], WindowWidth=[400, 2])
    assert np.allclose(grey(linear), np.clip((HU - 39.5) / 399 + 0.5, 0, 1), atol=1e-6)
    exact = make_dicom(tmp_path / "b.dcm", STORED, WindowCenter=40, WindowWidth=400, VOILUTFunction="LINEAR_EXACT")
    assert np.allclose(grey(exact), unit(HU, -160, 240), atol=1e-6)
    sigmoid = make_dicom(tmp_path / "c.dcm", STORED, WindowCenter=40, WindowWidth=400, VOILUTFunction="SIGMOID")
    assert np.allclose(grey(sigmoid), 1 / (1 + np.exp(-4 * (HU - 40) / 400)), atol=1e-6)
    threshold = make_dicom(tmp_path / "d.dcm", STORED, WindowCenter=40, WindowWidth=1)
    assert np.array_equal(grey(threshold), HU > 39.5)


def test_without_a_window_the_range_is_that_of_ct_or_of_the_stored_bits(tmp_path: Path) -> None:
    assert np.allclose(grey(make_dicom(tmp_path / "ct.dcm", STORED)), STORED / 4095, atol=1e-6)
    xray = {"Modality": "DX", "RescaleSlope": None, "RescaleIntercept": None, "RescaleType": None}
    low = STORED // 8
    assert np.allclose(grey(make_dicom(tmp_path / "x.dcm", low, bits=10, **xray)), low / 1023, atol=1e-6)
    signed = (low.astype(np.int16)) - 200
    assert np.allclose(grey(make_dicom(tmp_path / "s.dcm", signed, bits=10, **xray)), (signed + 512) / 1023, atol=1e-6)
    falling = xray | {"RescaleSlope": -2, "RescaleIntercept": 7, "RescaleType": "US"}
    assert np.allclose(grey(make_dicom(tmp_path / "f.dcm", low, bits=10, **falling)), 1 - low / 1023, atol=1e-6)
    useless = make_dicom(tmp_path / "w.dcm", low, bits=10, **xray, WindowCenter=0, WindowWidth=0)
    assert np.allclose(grey(useless), low / 1023, atol=1e-6)


def test_monochrome1_is_turned_over_but_hounsfield_units_are_not(tmp_path: Path) -> None:
    xray = {"Modality": "CR", "WindowCenter": 900, "WindowWidth": 1500}
    plain = make_dicom(tmp_path / "a.dcm", STORED, **xray)
    negative = make_dicom(tmp_path / "b.dcm", STORED, **xray, PhotometricInterpretation="MONOCHROME1")
    assert np.allclose(grey(negative), 1 - grey(plain), atol=1e-6)
    ct = make_dicom(tmp_path / "c.dcm", STORED, PhotometricInterpretation="MONOCHROME1")
    assert np.allclose(grey(ct, window="bone"), unit(HU, -500, 1300), atol=1e-6)


def test_unused_bits_do_not_count(tmp_path: Path) -> None:
    overlay = STORED | RNG.integers(0, 16, STORED.shape, dtype=np.uint16) << 12
    assert np.allclose(grey(make_dicom(tmp_path / "x.dcm", overlay), window="lung"), unit(HU, -1350, 150), atol=1e-6)


def test_a_lookup_table_goes_before_the_window(tmp_path: Path) -> None:
    table = RNG.integers(0, 1024, 4096).astype(np.uint16)
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [4096, 0, 10])
    item.add_new("LUTData", "OW", table.tobytes())
    file = make_dicom(
        tmp_path / "x.dcm", STORED, Modality="MG", RescaleIntercept=0, WindowCenter=5, WindowWidth=9,
        VOILUTSequence=Sequence([item]),
    )  # fmt: skip
    assert np.allclose(grey(file), table[STORED] / 1023, atol=1e-6)


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEG2000Lossless]
)
def test_transfer_syntaxes(tmp_path: Path, syntax: str) -> None:
    file = make_dicom(tmp_path / "x.dcm", LARGE)
    data = dcmread(file)
    if syntax in {RLELossless, JPEG2000Lossless}:
        data.compress(syntax)
    else:
        data.file_meta.TransferSyntaxUID = syntax
    data.save_as(tmp_path / "y.dcm", implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    assert np.array_equal(grey(tmp_path / "y.dcm", window="lung"), grey(file, window="lung"))


def test_colour(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (1, 6, 5, 3), dtype=np.uint8)
    rgb = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "Modality": "US"}
    file = make_dicom(tmp_path / "x.dcm", colour, bits=8, **rgb)
    assert np.allclose(read_image(file, 3).numpy(), colour[0].transpose(2, 0, 1) / 255, atol=1e-6)
    assert np.allclose(grey(file), colour[0] @ [0.299, 0.587, 0.114] / 255, atol=1e-6)
    y, cb, cr = (colour[0, ..., plane].astype(float) for plane in range(3))
    ybr = make_dicom(tmp_path / "y.dcm", colour, bits=8, **(rgb | {"PhotometricInterpretation": "YBR_FULL"}))
    red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    green = y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128)
    expected = np.clip(np.stack([red, green, blue]), 0, 255)
    assert np.abs(read_image(ybr, 3).numpy() * 255 - expected).max() <= 1


def test_frames(tmp_path: Path) -> None:
    stack = RNG.integers(0, 4096, (3, 6, 5), dtype=np.uint16)
    file = make_dicom(tmp_path / "x.dcm", stack, NumberOfFrames=3)
    with pytest.raises(RequestError, match=r"holds 3 frames.*data\.multiframe=expand"):
        read_image(file, 1)
    for frame in range(3):
        assert np.allclose(grey(file, frame=frame), stack[frame] / 4095, atol=1e-6)
    with pytest.raises(RequestError, match="frame 3 was asked for"):
        read_image(file, 1, frame=3)


def test_values_of_single_frames_in_enhanced_files(tmp_path: Path) -> None:
    def groups(slope: float) -> Dataset:
        rescale, group = Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = slope, -1000, "HU"
        group.PixelValueTransformationSequence = Sequence([rescale])
        return group

    stack = RNG.integers(0, 1000, (2, 6, 5), dtype=np.uint16)
    bare = {"RescaleSlope": None, "RescaleIntercept": None, "RescaleType": None, "NumberOfFrames": 2}
    per_frame = Sequence([groups(1), groups(2)])
    file = make_dicom(tmp_path / "x.dcm", stack, **bare, PerFrameFunctionalGroupsSequence=per_frame)
    for frame in range(2):
        expected = unit(stack[frame] * (frame + 1.0) - 1000, -1350, 150)
        assert np.allclose(grey(file, frame=frame, window="lung"), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"Modality": "DX"}, "no CT"),
        ({"RescaleSlope": None}, "no rescale slope"),
        ({"RescaleType": "US"}, "no rescale slope"),
    ],
)
def test_a_window_needs_hounsfield_units(tmp_path: Path, tags: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=f"Hounsfield units.*{message}.*data.window=null"):
        read_image(make_dicom(tmp_path / "x.dcm", STORED, **tags), 1, window="lung")


def test_more_windows_than_channels(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="3 windows as channels, and the model takes 1"):
        read_image(make_dicom(tmp_path / "x.dcm", STORED), 1, window=["lung", "bone", "mediastinum"])


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"Rows": 60_000, "Columns": 60_000}, "60000x60000 pixels, more than the limit"),
        ({"Rows": 6000, "Columns": 6000}, "damaged"),
        ({"Rows": 0}, "0x5 pixels"),
        ({"Columns": None}, "no picture"),
        ({"PhotometricInterpretation": "CMYK"}, "damaged|photometric"),
        ({"RescaleSlope": 0, "RescaleType": "US"}, "no usable range"),
    ],
)
def test_refused(tmp_path: Path, tags: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_image(make_dicom(tmp_path / "x.dcm", STORED, **tags), 1)


def test_compressed_data_of_another_size_are_not_decoded(tmp_path: Path) -> None:
    file = make_dicom(tmp_path / "x.dcm", LARGE)
    data = dcmread(file)
    data.compress(JPEG2000Lossless)
    start = data.PixelData.index(b"\xff\x4f\xff\x51") + 8
    data.PixelData = data.PixelData[:start] + (60_000).to_bytes(4, "big") * 2 + data.PixelData[start + 8 :]
    data.save_as(file)
    with pytest.raises(RequestError, match="header says 66x65 pixels, and its compressed data 60000x60000"):
        read_image(file, 1)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("compressed", [False, True])
def test_stored_bits_may_lie_above_the_lowest(tmp_path: Path, signed: bool, compressed: bool) -> None:
    """12 bits in the upper part of 16 (HighBit 14), with other bits around them."""
    values = STORED.astype(np.int16) - 2048 if signed else STORED
    words = ((values.astype(np.uint16) & 0xFFF) << 3) | 0x8005
    stored = words.astype(np.uint16).view(np.int16) if signed else words
    kind = {"RescaleIntercept": 0} if signed else {}
    file = make_dicom(tmp_path / "x.dcm", stored, HighBit=14, **kind)
    if compressed:
        data = dcmread(file)
        data.compress(RLELossless)
        data.save_as(file)
    hu = values.astype(float) - (0 if signed else 1024)
    assert np.allclose(grey(file, window=[0, 3000]), unit(hu, -1500, 1500), atol=1e-6)


@pytest.mark.parametrize("bit", [5, 20])
def test_a_high_bit_that_cannot_be_is_refused(tmp_path: Path, bit: int) -> None:
    with pytest.raises(RequestError, match="HighBit"):
        read_image(make_dicom(tmp_path / "x.dcm", STORED, HighBit=bit), 1)


@pytest.mark.parametrize("syntax", [None, RLELossless])
def test_only_the_frame_that_is_asked_for_is_read(tmp_path: Path, syntax: str | None) -> None:
    stack = RNG.integers(0, 4096, (40, 128, 128), dtype=np.uint16)
    file = make_dicom(tmp_path / "x.dcm", stack, NumberOfFrames=40)
    if syntax:
        data = dcmread(file)
        data.compress(syntax)
        data.save_as(file)
    whole = dcmread(file).pixel_array
    grey(file, frame=0)  # imports
    tracemalloc.start()
    for frame in (0, 17, 39):
        assert np.allclose(grey(file, frame=frame), whole[frame] / 4095, atol=1e-6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < file.stat().st_size / 1.5  # decoding one frame takes some arrays of 128 x 128 floats


def test_what_inflates_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = make_dicom(tmp_path / "x.dcm", np.zeros((4000, 4000), np.uint16), PatientID="P7")
    data = dcmread(bomb)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(bomb)
    assert bomb.stat().st_size < 100_000
    assert grey(bomb).shape == (4000, 4000)
    monkeypatch.setattr("medimg.data.readers.dicom_stream._MOST_INFLATED", 2**22)
    tracemalloc.start()
    with pytest.raises(RequestError, match=r"x\.dcm.*inflates to more than 4 MiB"):
        read_image(bomb, 1)
    ids = read_ids(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ids is not None and (ids.patient, ids.frames) == ("P7", 1)
    assert peak < 2**24
