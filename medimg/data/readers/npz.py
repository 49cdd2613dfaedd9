"""Archives of images (`.npz`) as MedMNIST ships them, or as Keras ships MNIST: which arrays, and single rows of them.

A row is counted through the splits: first those of train, then val, then test. 8-bit values come as they are, 16-bit
ones / 65535, floating point in 0..1 as it is. Nothing in an archive is unpickled.
"""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from medimg.config.windows import Window
from medimg.data.readers.common import Pixels, to_unit
from medimg.data.readers.kept import Kept
from medimg.data.readers.refusals import PICTURES_HAVE_NONE, no_window, unreadable
from medimg.errors import RequestError

# per split the names of images and labels, in the order of the rows
LAYOUTS = (
    {split: (f"{split}_images", f"{split}_labels") for split in ("train", "val", "test")},
    {split: (f"x_{split}", f"y_{split}") for split in ("train", "val", "test")},
)
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_LARGEST = 4 * 2**30  # bytes of an array that are unpacked into memory

_arrays = Kept(limit=16 * 2**30)


class Member(NamedTuple):
    """An array of an archive, unread."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int  # of its values in the archive, or -1 where they are compressed
    unpacked: int  # bytes


def members(file: Path) -> dict[str, Member]:
    """The arrays in an archive by name; raises RequestError where it is none."""
    try:
        with zipfile.ZipFile(file) as archive:
            infos = [info for info in archive.infolist() if info.filename.endswith(".npy")]
            return {info.filename[:-4]: _member(archive, info) for info in infos}
    except OSError as error:
        raise unreadable(file, error.strerror or type(error).__name__) from error
    except Exception as error:  # zipfile and zlib raise many kinds on damaged archives
        raise unreadable(file, "it is no archive of numpy arrays (.npz), or it is damaged") from error


def image_members(file: Path) -> dict[str, Member]:
    """The arrays of images by split, in the order of the rows; empty where the archive has no known layout."""
    found = members(file)
    for layout in LAYOUTS:
        if layout["train"][0] in found:
            return {split: found[images] for split, (images, _) in layout.items() if images in found}
    return {}


def row_names(split: str, member: Member) -> list[str]:
    """What the rows of a split are called: `train/000`, of one length, so that they sort as they stand."""
    rows = member.shape[0] if member.shape else 0
    digits = len(str(max(rows - 1, 1)))
    return [f"{split}/{row:0{digits}d}" for row in range(rows)]


def read_array(file: Path, member: Member) -> NDArray[Any]:
    """An array: mapped from the archive where it is not compressed, otherwise read once a process and kept."""
    if member.dtype.hasobject:
        raise unreadable(file, f"{member.name} holds Python objects, which are never loaded")
    if member.unpacked > _LARGEST and member.offset < 0:
        raise RequestError(
            f"{file}: {member.name} has {member.unpacked / 2**30:.0f} GiB once unpacked, more than is kept in memory. "
            "Save the archive without compression (numpy.savez), and it is read from disk row by row."
        )
    return _arrays.get(file, member.name, lambda: _load(file, member), mapped=member.offset >= 0)


def read_row(file: Path, channels: int, frame: int | None, windows: tuple[Window, ...]) -> Pixels:
    """One image [H, W] or [H, W, 3], uint8 or float32 in 0..1; it has no window."""
    images = image_members(file)
    if windows:
        raise no_window(file, PICTURES_HAVE_NONE)
    total = sum(member.shape[0] for member in images.values())
    if not images or frame is None or not 0 <= frame < total:
        row = "no row was" if frame is None else f"row {frame} was"
        raise unreadable(file, f"{row} asked for, and this archive has {total} images that are known (data=medmnist)")
    for member in images.values():
        if frame < member.shape[0]:
            break
        frame -= member.shape[0]
    pixels = to_unit(np.asarray(read_array(file, member)[frame]), file)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
    if pixels.ndim == 3 and channels == 1:
        grey = pixels @ _LUMA
        return np.round(grey).astype(np.uint8) if pixels.dtype == np.uint8 else grey.astype(np.float32)
    return pixels


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    with archive.open(info) as stream:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        header = stream.tell()
    expected = header + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if not dtype.hasobject and expected != info.file_size:
        raise ValueError("the array is cut off")
    offset = -1
    if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1 and archive.filename:
        with Path(archive.filename).open("rb") as raw:
            raw.seek(info.header_offset)
            local = raw.read(30)
        # the local header has its own lengths of name and extra field
        offset = info.header_offset + 30 + sum(int.from_bytes(local[at : at + 2], "little") for at in (26, 28)) + header
    return Member(info.filename[:-4], tuple(shape), dtype, bool(fortran), offset, info.file_size)


def _load(file: Path, member: Member) -> NDArray[Any]:
    order = "F" if member.fortran else "C"
    if member.offset >= 0:
        return np.memmap(file, member.dtype, "r", member.offset, member.shape, order)  # type: ignore[call-overload, no-any-return]
    try:
        with np.load(file, allow_pickle=False) as archive:
            array: NDArray[Any] = archive[member.name]
            return array
    except MemoryError:
        raise
    except Exception as error:
        raise unreadable(file, f"{member.name} is damaged") from error
