"""DICOM files: decoded by pydicom, and brought to 0..1 by what the header says of the values (see `dicom_values`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from medimg.config.windows import Window
from medimg.data.readers.common import Pixels, apply_windows
from medimg.data.readers.dicom_ids import check_installed, quiet
from medimg.data.readers.dicom_values import hounsfield, shown
from medimg.data.readers.refusals import check_size, missing_extra, no_window, unreadable
from medimg.errors import RequestError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R 601, as Pillow has it


def read_dicom(file: Path, channels: Literal[1, 3], frame: int | None, windows: tuple[Window, ...]) -> Pixels:
    """float32 in 0..1: [H, W], or [H, W, 3] for colour in three channels, or [windows, H, W].

    Nothing of the header but numbers of the image is ever part of an error, and pydicom's own messages, which quote
    values, are neither shown nor chained: they may hold names of patients.
    """
    check_installed(file)
    with quiet():
        try:
            return _read(file, channels, frame, windows)
        except (RequestError, MemoryError):
            raise
        except BaseException as error:  # pydicom and its plugins raise many kinds on damaged files
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of plugins in Rust
                raise
            raise unreadable(file, "its DICOM header or pixel data are damaged or contradict each other") from None


def _read(file: Path, channels: Literal[1, 3], frame: int | None, windows: tuple[Window, ...]) -> Pixels:
    import pydicom

    header = pydicom.dcmread(file, force=True)
    _complete(header)
    index = _check(header, file, frame)
    pixels, photometric, bits = _decode(header, file, index)
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


def _check(header: "FileDataset", file: Path, frame: int | None) -> int:
    """Which frame is to be read, once it is sure that there is a picture of a bearable size."""
    if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
        raise unreadable(file, "its pixels are floating point (a parametric map), which is not read")
    if "PixelData" not in header or "Rows" not in header or "Columns" not in header:
        raise unreadable(file, "this DICOM file holds no picture, or is cut off before it")
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


def _decode(header: "FileDataset", file: Path, index: int) -> tuple[NDArray[Any], str, int]:
    """One frame as stored, unused bits cleared and YBR turned to RGB; its photometric interpretation; bits stored."""
    from pydicom.pixels import get_decoder

    syntax = header.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise unreadable(file, "its transfer syntax (compression) is none that pydicom decodes") from None
    if not decoder.is_available:
        raise missing_extra(file, f"its compression ({syntax.name})", "dicom")
    if syntax.is_encapsulated:
        _check_codestream(header, file, index)
    shift = int(header.get("HighBit", int(header.BitsStored) - 1)) + 1 - int(header.BitsStored)
    if shift:  # pydicom takes the stored bits for the lowest ones
        raise unreadable(file, f"its pixels lie {shift} bits above the lowest (HighBit), which is not read")
    pixels, found = decoder.as_array(header, index=index)
    shape = (int(header.Rows), int(header.Columns))
    if pixels.shape[:2] != shape:
        raise unreadable(file, f"its header says {shape[0]}x{shape[1]} pixels, and its data hold another number")
    return pixels, str(found["photometric_interpretation"]), int(found["bits_stored"])


def _check_codestream(header: "FileDataset", file: Path, index: int) -> None:
    """Compressed data say their size a second time, and decoders reserve that much memory."""
    from pydicom.encaps import get_frame

    frames = int(header.get("NumberOfFrames") or 1)
    size = _claimed_size(get_frame(header.PixelData, index, number_of_frames=frames))
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
