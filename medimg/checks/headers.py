"""What a file is, from its first bytes: format, mode, depth and size."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from medimg.data.readers.dicom_ids import quiet
from medimg.data.readers.sniff import kind_of

_BITS = {"1": 1, "L": 8, "LA": 8, "P": 8, "PA": 8, "RGB": 8, "RGBA": 8, "CMYK": 8, "YCbCr": 8, "I": 32, "F": 32}
_DICOM_TAGS = (0x00280004, 0x00280010, 0x00280011, 0x00280101)  # photometric interpretation, rows, columns, bits stored
# a DICOM file's mode is shown only where it is one of these, as a damaged header may hold anything in its place
_DICOM_MODES = frozenset(
    {"MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"}
)


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file say.

    Attributes:
        format: as Pillow names it, or DICOM, NIFTI, NPZ.
        mode: Pillow's, such as L, RGB or I;16; of DICOM the photometric interpretation; empty for other formats.
        bits: of each channel; None where the header does not say, or was not asked.
        size: (height, width); None where the header does not say, or was not asked.
        length: of the file, in bytes.
    """

    format: str
    mode: str
    bits: int | None
    size: tuple[int, int] | None
    length: int


def read_header(file: Path) -> Header | str:
    """The header of an image file, or why there is none."""
    try:
        length = file.stat().st_size
        if not length:
            return "it is empty (0 bytes)"
        kind = kind_of(file)
        if kind == "picture":
            return _of_picture(file, length)
        return _of_dicom(file, length) if kind == "dicom" else Header(kind.upper(), "", None, None, length)
    except OSError as error:
        return error.strerror or str(error) or type(error).__name__


def _of_picture(file: Path, length: int) -> Header | str:
    """Opens what training opens, and nothing else that Pillow knows."""
    from PIL import Image, UnidentifiedImageError

    from medimg.data.readers.pictures import FORMATS

    try:
        with file.open("rb") as stream, Image.open(stream, formats=FORMATS) as image:
            bits = 16 if image.mode.startswith("I;16") else _BITS.get(image.mode)
            name = "JPEG" if image.format == "MPO" else str(image.format)
            return Header(name, image.mode, bits, (image.height, image.width), length)
    except UnidentifiedImageError:
        return "it is no image of a known format"
    except Exception as error:  # decoders raise many kinds, on the header already
        return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _of_dicom(file: Path, length: int) -> Header:
    """Numbers of the image alone. What cannot be read stays unknown: whoever reads the pixels says why."""
    if find_spec("pydicom") is None:
        return Header("DICOM", "", None, None, length)
    from pydicom.filereader import read_partial

    try:
        with quiet(), file.open("rb") as stream:
            header = read_partial(
                stream, lambda tag, vr, length: tag > _DICOM_TAGS[-1], force=True, specific_tags=list(_DICOM_TAGS)
            )
            mode, rows, columns, bits = (header[tag].value if tag in header else None for tag in _DICOM_TAGS)
            size = (int(rows), int(columns)) if rows and columns else None
            return Header("DICOM", mode if mode in _DICOM_MODES else "", int(bits) if bits else None, size, length)
    except Exception:  # pydicom raises many kinds on damaged files, with values of tags in their messages
        return Header("DICOM", "", None, None, length)
