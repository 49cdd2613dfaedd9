"""What the stored numbers of a DICOM image mean: Hounsfield units, and what is shown as black and white.

Without `data.window`, what becomes 0 and 1 is, in this order: the file's own VOI LUT; its first window; for CT in
Hounsfield units -1024 and 3071, the range of 12 bits; the lowest and highest number that the stored bits can hold.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medimg.data.readers.refusals import NO_CT, no_window, unreadable

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CT_RANGE = (-1024.0, 3071.0)


def hounsfield(header: "Dataset", frame: int, pixels: NDArray[Any], file: Path) -> NDArray[np.float64]:
    """A CT image in Hounsfield units [H, W]; raises RequestError where it has none."""
    if header.get("Modality") != "CT":
        raise no_window(file, NO_CT)
    if not _has_hounsfield(header, frame):
        raise no_window(file, "this CT file has no rescale slope and intercept to get them by")
    return _modality_values(header, frame, pixels)


def shown(header: "Dataset", frame: int, pixels: NDArray[Any], *, inverted: bool, file: Path) -> NDArray[np.float32]:
    """Grey values [H, W] as they are meant to be seen, in 0..1, black being 0.

    Args:
        header: of the file.
        frame: which frame the pixels are.
        pixels: as stored.
        inverted: whether low values are meant to be bright (MONOCHROME1).
        file: for errors.
    """
    values = _modality_values(header, frame, pixels)
    unit = _voi(_item(header, frame, "FrameVOILUTSequence"), values)
    if unit is None:
        low, high = _CT_RANGE if _has_hounsfield(header, frame) else _stored_range(header, frame)
        unit = (values - low) / (high - low) if high > low else np.full(values.shape, np.nan)
    if not np.isfinite(unit).all():
        raise unreadable(file, "its header gives no usable range of values (rescale or window)")
    unit = np.clip(unit, 0, 1)
    return np.asarray(1 - unit if inverted else unit, dtype=np.float32)


def _item(header: "Dataset", frame: int, name: str) -> "Dataset":
    """The part of the header with a frame's values: in enhanced files each frame has its own, or all share one."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or []
    shared = header.get("SharedFunctionalGroupsSequence") or []
    for groups in (*per_frame[frame : frame + 1], *shared[:1]):
        if groups.get(name):
            item: Dataset = groups[name][0]
            return item
    return header


def _has_hounsfield(header: "Dataset", frame: int) -> bool:
    item = _item(header, frame, "PixelValueTransformationSequence")
    in_units = str(item.get("RescaleType") or "HU").strip().upper() == "HU"
    slope, intercept = item.get("RescaleSlope"), item.get("RescaleIntercept")
    return header.get("Modality") == "CT" and in_units and slope is not None and intercept is not None


def _modality_values(header: "Dataset", frame: int, pixels: NDArray[Any]) -> NDArray[np.float64]:
    """Stored numbers through the modality LUT, or rescale slope and intercept; as they are where there is neither."""
    from pydicom.pixels import apply_modality_lut

    item = _item(header, frame, "PixelValueTransformationSequence")
    return np.asarray(apply_modality_lut(pixels, item), dtype=np.float64)


def _stored_range(header: "Dataset", frame: int) -> tuple[float, float]:
    """The lowest and the highest value that there can be, after the modality LUT."""
    item = _item(header, frame, "PixelValueTransformationSequence")
    if item.get("ModalityLUTSequence"):
        return 0.0, 2.0 ** int(item.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    bits = int(header.BitsStored)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if header.PixelRepresentation else (0, 2**bits - 1)
    ends = _modality_values(header, frame, np.array([low, high], dtype=np.float64))
    return float(ends.min()), float(ends.max())


def _voi(item: "Dataset", values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Values through the file's VOI LUT or its first window (PS3.3 C.11.2), 0..1; None where it has neither."""
    if item.get("VOILUTSequence"):
        from pydicom.pixels import apply_voi

        top = 2.0 ** int(item.VOILUTSequence[0].LUTDescriptor[2]) - 1
        return np.asarray(apply_voi(values, item), dtype=np.float64) / top
    center, width = _first(item.get("WindowCenter")), _first(item.get("WindowWidth"))
    if center is None or width is None:
        return None
    return _windowed(values, center, width, str(item.get("VOILUTFunction") or "LINEAR").upper())


def _windowed(values: NDArray[np.float64], center: float, width: float, function: str) -> NDArray[np.float64] | None:
    if width <= 0 or (function == "LINEAR" and width < 1):  # not allowed, and met in the wild: no window
        return None
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return (values - center) / width + 0.5
    if width == 1:
        return np.where(values > center - 0.5, 1.0, 0.0)
    return (values - (center - 0.5)) / (width - 1) + 0.5


def _first(value: Any) -> float | None:
    """The first of several numbers, or the only one."""
    if value is None or value == "":
        return None
    if isinstance(value, str | float | int):
        return float(value)
    return float(value[0]) if len(value) else None
