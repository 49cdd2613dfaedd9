"""Which format a file has, by its content; the name decides only where the content says nothing."""

import zlib
from pathlib import Path, PurePosixPath
from typing import Literal

Kind = Literal["dicom", "nifti", "npz", "picture"]

PICTURE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".pgm", ".ppm"}
)
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
NIFTI_SUFFIXES = frozenset({".nii", ".nii.gz"})
_DICOM_MAGIC = b"DICM"  # after 128 bytes that mean nothing
_NIFTI_MAGIC = frozenset({b"n+1\x00", b"ni1\x00", b"n+2\x00", b"ni2\x00"})
_HEAD = 352
# what starts like this is another format, whatever its name
_PICTURES = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"BM",
    b"II*\x00",
    b"MM\x00*",
    b"RIFF",
    b"GIF8",
    b"P5",
    b"P6",
    b"\x00\x00\x00\x0cjP",
)


def kind_of(file: Path) -> Kind:
    """The format to read a file in; what `known_kind` does not know is left to the reader of pictures."""
    return known_kind(file) or "picture"


def known_kind(file: Path) -> Kind | None:
    """The format of a file. A DICOM file may lack its magic (the first standards had none): then its suffix counts.

    None where neither says anything. Raises OSError where the file cannot be opened.
    """
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    if is_dicom(head):
        return "dicom"
    if _is_nifti(head) or (head[:2] == b"\x1f\x8b" and _is_nifti(_unzipped(head))):
        return "nifti"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "npz"
    if head.startswith(_PICTURES):
        return "picture"
    suffix = suffix_of(file.name)
    return "dicom" if suffix in DICOM_SUFFIXES else "nifti" if suffix in NIFTI_SUFFIXES else None


def is_dicom(head: bytes) -> bool:
    """Whether the first 132 bytes are those of a DICOM file."""
    return head[128:132] == _DICOM_MAGIC


def may_be_nameless_dicom(name: str) -> bool:
    """Whether a name is like those that DICOM files without a suffix have: `IM0001`, `1.2.840.113619.2.5`."""
    suffix = PurePosixPath(name).suffix
    return (not suffix or suffix[1:].isdigit()) and not name.upper().startswith("DICOMDIR")


def suffix_of(name: str) -> str:
    """The ending of a file's name in lower case, `.nii.gz` being one."""
    name = name.casefold()
    return ".nii.gz" if name.endswith(".nii.gz") else PurePosixPath(name).suffix


def _is_nifti(head: bytes) -> bool:
    return head[344:348] in _NIFTI_MAGIC or head[4:8] in _NIFTI_MAGIC


def _unzipped(head: bytes) -> bytes:
    """The first bytes of what gzip packed."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _HEAD)
    except zlib.error:
        return b""
