"""NIfTI volumes, slice by slice: axial, the same way up whatever way they were stored.

Volumes are turned so that slices count from the feet to the head, rows run from front (top) to back, and columns from
the patient's right (at the left of the picture) to left, as radiologists look at axial slices. Oblique volumes are
turned to the nearest axes. Nothing is resampled: pixels keep the spacing that they have.

What becomes 0 and 1: with `data.window` that window, the values being taken as Hounsfield units after the header's
scl_slope and scl_inter (NIfTI does not say what was measured, and CT is stored so by all common converters); without,
the display range of the header (cal_min, cal_max); else 8-bit values / 255, 16-bit ones from 0 / 65535, and floating
point in 0..1 as it is. Where none of these fits, the range is unknown and the file is refused.
"""

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medimg.config.windows import Window
from medimg.data.readers.common import Pixels, apply_windows, to_unit
from medimg.data.readers.kept import Kept
from medimg.data.readers.refusals import (
    SettingError,
    check_size,
    guarded,
    missing_extra,
    no_window,
    setting_error,
    unreadable,
)
from medimg.errors import RequestError

if TYPE_CHECKING:
    from nibabel.nifti1 import Nifti1Header

_AXES = ("L", "P", "S")
_DAMAGED = "the NIfTI file is damaged or cut off"
_GZIP = b"\x1f\x8b"
_GZIP_RATIO = 1032  # deflate packs no tighter
# A packed volume has to be unpacked from its start; that is paid once for all of its slices while it is kept.
_unpacked = Kept(limit=512 * 2**20)


@dataclass(frozen=True)
class _Volume:
    """A volume that has not been read yet: `turn` says which axis of the file becomes which, and which are reversed."""

    header: "Nifti1Header"
    shape: tuple[int, int, int]
    turn: NDArray[np.float64]
    packed: bool

    def size(self, target: int) -> int:
        """The length of an axis after turning: 0 columns, 1 rows, 2 slices."""
        return self.shape[self.source(target)]

    def source(self, target: int) -> int:
        return int(np.flatnonzero(self.turn[:, 0] == target)[0])


def look_at_header(file: Path, *, windowed: bool) -> tuple[int, SettingError | None]:
    """How many axial slices a volume has, and why they cannot be shown, as far as its header tells.

    Raises RequestError where it is no volume that can be read.
    """
    check_installed(file)
    with guarded(file, _DAMAGED):
        volume = _volume(file)
        return volume.size(2), _refusal(volume.header, file, windowed=windowed)


def read_slice(file: Path, frame: int | None, windows: tuple[Window, ...]) -> Pixels:
    """One axial slice [H, W], uint8 or float32 in 0..1; with windows float32 [windows, H, W]."""
    check_installed(file)
    with guarded(file, _DAMAGED):
        return _read(file, frame, windows)


def check_installed(file: Path) -> None:
    """Raises RequestError where nibabel is missing."""
    if find_spec("nibabel") is None:
        raise missing_extra(file, "NIfTI", "nifti")


def _read(file: Path, frame: int | None, windows: tuple[Window, ...]) -> Pixels:
    volume = _volume(file)
    slices = volume.size(2)
    if frame is None and slices > 1:
        raise RequestError(
            f"{file}: it holds {slices} slices, and an image must hold one. "
            "As part of a data set (class folders, or a CSV) each of its slices becomes an image."
        )
    if frame is not None and not 0 <= frame < slices:
        raise unreadable(file, f"slice {frame} was asked for, and it holds {slices}")
    refusal = _refusal(volume.header, file, windowed=bool(windows))
    if refusal is not None:
        raise refusal
    values = _scaled(volume.header, _slice(file, volume, frame or 0))
    return apply_windows(values, windows, file) if windows else _unit(volume.header, values, file)


def _volume(file: Path) -> _Volume:
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    with file.open("rb") as start:
        packed = start.read(2) == _GZIP
    with _opened(file, packed) as stream:
        header = _header(stream, file)
    shape = tuple(int(size) for size in header.get_data_shape())
    sizes = "x".join(map(str, shape))
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in {2, 3} or min(shape) < 1:
        raise unreadable(file, f"it is no single volume ({sizes} values); save the volume that counts as a file")
    kind = header.get_data_dtype()
    if kind.fields is not None or kind.kind not in "iuf":
        raise unreadable(file, "its values are colours or complex numbers, which are not read from NIfTI")
    length = header.get_data_offset() + int(np.prod(shape, dtype=object)) * kind.itemsize
    if length > file.stat().st_size * (_GZIP_RATIO if packed else 1):
        raise unreadable(file, f"it is cut off: its header says {sizes} values")
    affine = header.get_best_affine()
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        affine = header.get_base_affine()
    turn = ornt_transform(io_orientation(affine), axcodes2ornt(_AXES))
    volume = _Volume(header, (*shape, 1)[:3], turn, packed)  # type: ignore[arg-type]  # three, as seen above
    check_size(file, volume.size(1), volume.size(0))
    return volume


def _opened(file: Path, packed: bool) -> IO[bytes]:
    return gzip.open(file) if packed else file.open("rb")  # type: ignore[return-value]


def _header(stream: IO[bytes], file: Path) -> "Nifti1Header":
    """By content: nibabel itself goes by the file's name."""
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    start = stream.read(4)
    stream.seek(0)
    kind = Nifti2Header if 540 in {int.from_bytes(start, "little"), int.from_bytes(start, "big")} else Nifti1Header
    header: Nifti1Header = kind.from_fileobj(stream, check=False)
    if not bytes(header["magic"].item()).startswith(b"n+"):
        raise unreadable(file, "its pixels are in another file (.hdr and .img); save both as one .nii")
    return header


def _slice(file: Path, volume: _Volume, frame: int) -> NDArray[Any]:
    """An axial slice [rows, columns] as stored, turned."""
    stored = _stored(file, volume)
    axis = volume.source(2)
    plane: NDArray[Any] = np.take(stored, frame if volume.turn[axis, 1] > 0 else volume.size(2) - 1 - frame, axis=axis)
    others = [source for source in range(3) if source != axis]
    for position, source in enumerate(others):
        if volume.turn[source, 1] < 0:
            plane = np.flip(plane, position)
    return plane.T if volume.turn[others[0], 0] == 0 else plane


def _stored(file: Path, volume: _Volume) -> NDArray[Any]:
    header = volume.header
    kind, offset = header.get_data_dtype(), header.get_data_offset()
    if not volume.packed:
        mapped: NDArray[Any] = np.memmap(file, dtype=kind, mode="r", offset=offset, shape=volume.shape, order="F")
        return mapped

    def unpack() -> NDArray[Any]:
        count = int(np.prod(volume.shape))
        with _opened(file, packed=True) as stream:
            stream.seek(offset)
            data = stream.read(count * kind.itemsize)
            stream.read(1)  # at the end, so that the checksum is looked at
        return np.frombuffer(data, dtype=kind, count=count).reshape(volume.shape, order="F")

    return _unpacked.get(file, "volume", unpack)


def _scaling(header: "Nifti1Header") -> tuple[float, float] | None:
    """Slope and intercept, where they change anything."""
    found = header.get_slope_inter()
    return None if found in {(None, None), (1.0, 0.0)} else found


def _scaled(header: "Nifti1Header", stored: NDArray[Any]) -> NDArray[Any]:
    scaling = _scaling(header)
    return stored if scaling is None else stored * np.float64(scaling[0]) + np.float64(scaling[1])


def _display(header: "Nifti1Header") -> Window | None:
    """The header's display range, where it has one."""
    low, high = float(header["cal_min"]), float(header["cal_max"])
    return Window((low + high) / 2, high - low) if np.isfinite([low, high]).all() and high > low else None


def _refusal(header: "Nifti1Header", file: Path, *, windowed: bool) -> SettingError | None:
    """Why no slice of a volume can be shown; None where that depends on its values, or nothing is wrong."""
    kind = header.get_data_dtype()
    if windowed:
        few = "this volume holds 8-bit values, which are too few for them"
        return no_window(file, few) if kind.itemsize == 1 else None
    known = kind == np.uint16 or kind.itemsize == 1 or kind.kind == "f" or _scaling(header) is not None
    return None if known or _display(header) is not None else _unknown_range(file)


def _unit(header: "Nifti1Header", values: NDArray[Any], file: Path) -> Pixels:
    display = _display(header)
    if display is not None:
        return np.asarray(apply_windows(values, (display,), file)[0])
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values.min() < 0 or values.max() > 1):
        raise _unknown_range(file)
    return to_unit(values if values.dtype != np.int8 else values.astype(np.int16), file)


def _unknown_range(file: Path) -> SettingError:
    return setting_error(
        file,
        "which of the values are black and white is unknown: the header has no display range (cal_min, cal_max)",
        "Give it as data.window=[center,width]; for CT data.window=lung, mediastinum or bone.",
    )
