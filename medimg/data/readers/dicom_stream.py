"""DICOM files as streams: whole files stay on disk, and those that were deflated are inflated within a bound."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from medimg.data.readers.refusals import unreadable
from medimg.data.readers.sniff import is_dicom

_MOST_INFLATED = 256 * 2**20  # bytes; deflate packs a thousandfold, so a small file may claim all memory
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PLAIN = b"1.2.840.10008.1.2.1".ljust(len(_DEFLATED), b"\x00")
_SYNTAX = 0x00020010
_HEAD = 4096  # bytes that hold the meta information of nearly every file
_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
UNDEFINED = 0xFFFFFFFF


class NotPlainError(Exception):
    """The header is not of the plain kind that is read here."""


def extent(head: bytes, position: int, implicit: bool) -> tuple[int, int]:
    """Where the value of the element at a position starts, and how long it is."""
    if implicit:
        return position + 8, int(struct.unpack_from("<I", head, position + 4)[0])
    kind = head[position + 4 : position + 6]
    if not (kind.isalpha() and kind.isupper()):  # not explicit, whatever the file says
        raise NotPlainError
    if kind in _LONG:
        return position + 12, int(struct.unpack_from("<I", head, position + 8)[0])
    return position + 8, int(struct.unpack_from("<H", head, position + 6)[0])


@contextmanager
def opened(file: Path, *, first: int | None = None) -> Iterator[BinaryIO]:
    """The file as if it had never been deflated.

    Args:
        file: the file.
        first: bytes of what was deflated that are enough; None: all of it.

    Raises:
        RequestError: it inflates to more than is kept in memory.
        Exception: pydicom's and zlib's own kinds, where the file is damaged.
    """
    with file.open("rb") as stream:
        length = None if _is_plain(stream.read(_HEAD)) else _length_of_meta(stream)
        stream.seek(0)
        if length is None:
            yield stream
        else:
            meta = stream.read(length).replace(_DEFLATED, _PLAIN)
            yield BytesIO(meta + _inflated(stream.read(), file, first))


def _is_plain(head: bytes) -> bool:
    """Whether this is surely the start of a file that is not deflated; pydicom would take a millisecond to tell."""
    if not is_dicom(head):
        return False
    position, syntax = 132, b""
    try:
        while (tag := struct.unpack_from("<HH", head, position))[0] == 2:
            start, length = extent(head, position, implicit=False)
            if tag[1] == _SYNTAX & 0xFFFF:
                syntax = head[start : start + length]
            position = start + length
    except (NotPlainError, struct.error):
        return False
    return syntax.rstrip(b"\x00 ") not in {b"", _DEFLATED}


def _length_of_meta(stream: BinaryIO) -> int | None:
    """Where the data set starts in a file that says that it is deflated; None in any other."""
    from pydicom.filereader import read_dataset, read_preamble

    stream.seek(0)
    read_preamble(stream, force=True)
    start = stream.tell()
    for implicit in (False, True):  # the format allows one of them, and pydicom reads both
        stream.seek(start)
        meta = read_dataset(stream, implicit, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        if _SYNTAX in meta and bytes(meta.get_item(_SYNTAX).value).rstrip(b"\x00 ") == _DEFLATED:
            return stream.tell()
    return None


def _inflated(data: bytes, file: Path, first: int | None) -> bytes:
    most = first or _MOST_INFLATED + 1
    found = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, most)
    if len(found) > _MOST_INFLATED:
        raise unreadable(
            file,
            f"it is deflated, and inflates to more than {_MOST_INFLATED >> 20} MiB, which is no real picture; "
            "one that is can be saved in another transfer syntax",
        )
    return found
