"""DICOM files: decoded by pydicom, and brought to 0..1 by what the header says of the values (see `dicom_values`)."""

from os import SEEK_CUR
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from medimg.config.windows import Window
from medimg.data.readers.common import Pixels, apply_windows
from medimg.data.readers.dicom_ids import check_installed, quiet
from medimg.data.readers.dicom_stream import opened
from medimg.data.readers.dicom_values import hounsfield, shown
from medimg.data.readers.refusals import check_size, guarded, missing_extra, no_window, unreadable
from medimg.errors import RequestError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset
    from pydicom.uid import UID

_PIXEL_DATA = (0x7FE0, 0x0010)
_FLOATING = {(0x7FE0, 0x0008), (0x7FE0, 0x0009)}
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R 601, as Pillow has it


def read_dicom(file: Path, channels: Literal[1, 3], frame: int | None, windows: tuple[Window, ...]) -> Pixels:
    """float32 in 0..1: [H, W], or [H, W, 3] for colour in three channels, or [windows, H, W].

    Nothing of the header but numbers of the image is ever part of an error, and pydicom's own messages, which quote
    values, are neither shown nor chained: they may hold names of patients.
    """
    check_installed(file)
    reason = "its DICOM header or pixel data are damaged or contradict each other"
    with quiet(), guarded(file, reason), opened(file) as stream:
        return _read(stream, file, channels, frame, windows)


def _read(
    stream: BinaryIO, file: Path, channels: Literal[1, 3], frame: int | None, windows: tuple[Window, ...]
) -> Pixels:
    import pydicom

    header = pydicom.dcmread(stream, force=True, stop_before_pixels=True)
    _complete(header)
    options = _pixel_options(header, stream, file)
    index = _check(header, file, frame)
    pixels, photometric, bits = _decode(header, stream, file, index, options)
    if pixels.ndim == 3 or photometric == "PALETTE COLOR":
        if windows:
            raise no_window(file, "this DICOM file is a colour picture")
        colour = _colour(header, file, pixels, photometric, bits)
        return colour if channels == 3 else np.asarray(colour @ _LUMA, dtype=np.float32)
    if photometric not in {"MONOCHROME1", "MONOCHROME2"}:
        raise unreadable(file, "its photometric interpretation is none that is known for grey images")
    if windows:
        return apply_windows(hounsfield(header, index, pixels, file), windows, file)
    return shown(header, index, pixels, inverted=photometric == "MONOCHROME1", file=file)


def _complete(header: "FileDataset") -> None:
    """Files older than the format's preamble do not say their transfer syntax; reading them has shown it."""
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if header.file_meta.get("TransferSyntaxUID") is None:
        implicit, little = header.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit


def _pixel_options(header: "FileDataset", stream: BinaryIO, file: Path) -> dict[str, Any]:
    """What pydicom's decoders need to know; leaves the stream where the value of the pixel data starts.

    So only the frame that is asked for is ever read.
    """
    from pydicom.pixels import as_pixel_options

    data = stream.read(8)
    order: Literal["little", "big"] = "little" if header.original_encoding[1] else "big"
    tag = int.from_bytes(data[:2], order), int.from_bytes(data[2:4], order)
    if tag in _FLOATING:
        raise unreadable(file, "its pixels are floating point (a parametric map), which is not read")
    if tag != _PIXEL_DATA or "Rows" not in header or "Columns" not in header:
        raise unreadable(file, "this DICOM file holds no picture, or is cut off before it")
    explicit = data[4:6].isalpha()  # whatever the file says: some mix both
    vr = data[4:6].decode("ascii") if explicit else "OW"
    stream.seek(4 if explicit else 0, SEEK_CUR)  # the length that follows is not needed
    syntax = header.file_meta.TransferSyntaxUID
    options: dict[str, Any] = as_pixel_options(
        header, pixel_keyword="PixelData", pixel_vr=vr, transfer_syntax_uid=syntax
    )
    return options


def _check(header: "FileDataset", file: Path, frame: int | None) -> int:
    """Which frame is to be read, once it is sure that the picture has a bearable size."""
    check_size(file, int(header.Rows), int(header.Columns))
    frames = int(header.get("NumberOfFrames") or 1)
    if frame is None and frames > 1:
        raise RequestError(
            f"{file}: it holds {frames} frames, and an image must hold one. "
            "Give data.multiframe=expand to make an image of each frame, or save those that count as files."
        )
    if frame is not None and not 0 <= frame < frames:
        raise unreadable(file, f"frame {frame} was asked for, and it holds {frames}")
    return frame or 0


def _decode(
    header: "FileDataset", stream: BinaryIO, file: Path, index: int, options: dict[str, Any]
) -> tuple[NDArray[Any], str, int]:
    """One frame as stored, unused bits cleared and YBR turned to RGB; its photometric interpretation; bits stored."""
    from pydicom.pixels import get_decoder

    syntax = options["transfer_syntax_uid"]
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise unreadable(file, "its transfer syntax (compression) is none that pydicom decodes") from None
    if not decoder.is_available:
        raise missing_extra(file, f"its compression ({syntax.name})", "dicom")
    if syntax.is_encapsulated:
        _check_codestream(header, stream, file, index, options)
    above = int(header.get("HighBit", int(header.BitsStored) - 1)) + 1 - int(header.BitsStored)
    whole = {"bits_stored": int(header.BitsAllocated)} if above else {}  # pydicom takes the stored bits for the lowest
    pixels, found = decoder.as_array(stream, index=index, **(options | whole))
    shape = (int(header.Rows), int(header.Columns))
    if pixels.shape[:2] != shape:
        raise unreadable(file, f"its header says {shape[0]}x{shape[1]} pixels, and its data hold another number")
    if above:
        pixels = _lowered(header, pixels, file, syntax, above)
    return pixels, str(found["photometric_interpretation"]), int(header.BitsStored)


def _lowered(header: "FileDataset", pixels: NDArray[Any], file: Path, syntax: "UID", above: int) -> NDArray[Any]:
    """Whole words [H, W] without the bits below and above those that are stored, the highest of which is the sign."""
    from pydicom.uid import RLELossless

    unused = int(header.BitsAllocated) - int(header.BitsStored)
    if not 0 < above <= unused or pixels.ndim > 2 or (syntax.is_encapsulated and syntax != RLELossless):
        raise unreadable(file, f"its pixels lie {above} bits above the lowest (HighBit), which is read from plain grey")
    lowered: NDArray[Any] = np.right_shift(np.left_shift(pixels, unused - above), unused)
    return lowered


def _check_codestream(header: "FileDataset", stream: BinaryIO, file: Path, index: int, options: dict[str, Any]) -> None:
    """Compressed data say their size a second time, and decoders reserve that much memory."""
    from pydicom.encaps import get_frame

    start = stream.tell()
    found = {"number_of_frames": options["number_of_frames"], "extended_offsets": options.get("extended_offsets")}
    size = _claimed_size(get_frame(stream, index, **found))
    stream.seek(start)
    if size is not None and size != (int(header.Rows), int(header.Columns)):
        raise unreadable(
            file, f"its header says {header.Rows}x{header.Columns} pixels, and its compressed data {size[0]}x{size[1]}"
        )


def _claimed_size(data: bytes) -> tuple[int, int] | None:
    """Height and width in a JPEG or JPEG-LS frame header or a JPEG 2000 codestream; None where there is neither."""
    if data.startswith(b"\xff\x4f\xff\x51"):
        right, bottom, left, top = (int.from_bytes(data[at : at + 4], "big") for at in (8, 12, 16, 20))
        return bottom - top, right - left
    position = 2
    while data.startswith(b"\xff\xd8") and position + 9 < len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}):
            return tuple(int.from_bytes(data[position + at : position + at + 2], "big") for at in (5, 7))  # type: ignore[return-value]
        position += 1 if marker == 0xFF else 2 + length
    return None


def _colour(
    header: "FileDataset", file: Path, pixels: NDArray[Any], photometric: str, bits: int
) -> NDArray[np.float32]:
    """[H, W, 3] in 0..1, by the depth of the file."""
    if photometric == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        pixels = apply_color_lut(pixels, header)[..., :3]
        bits = 8 * pixels.dtype.itemsize
    elif photometric not in {"RGB", "YBR_ICT", "YBR_RCT"}:  # decoders of JPEG 2000 give RGB under the last two
        raise unreadable(file, "its photometric interpretation is none that can be turned into RGB")
    return pixels.astype(np.float32) / np.float32(2**bits - 1)
