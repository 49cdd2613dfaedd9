"""What the readers of all formats share: how values become 0..1."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medimg.config.windows import Window
from medimg.data.readers.refusals import unreadable
from medimg.errors import RequestError

Pixels = NDArray[Any]  # [H, W] or [H, W, channels], or [channels, H, W] where a function says so

_UINT16_MAX = 65535.0


def to_unit(pixels: Pixels, file: Path) -> Pixels:
    """8-bit values as they are; deeper ones as float32 in 0..1.

    Integers are divided by 65535, floating point is taken as it is. Values out of that range are an error, never
    clipped or rescaled image by image, since that would lose what sets two images apart.
    """
    if pixels.dtype == np.uint8:
        return pixels
    is_float = np.issubdtype(pixels.dtype, np.floating)
    top = 1.0 if is_float else _UINT16_MAX
    low, high = float(np.min(pixels)), float(np.max(pixels))
    if not (low >= 0 and high <= top):  # so that NaN fails too
        kind = "floating point" if is_float else f"{pixels.dtype.itemsize * 8}-bit integers"
        raise RequestError(
            f"{file}: its values ({kind}) reach from {low:g} to {high:g}; allowed are 0 to {top:g}. "
            "Rescale all images of the data set by the same rule, for example to 16-bit PNG."
        )
    return pixels.astype(np.float32) / np.float32(top)


def apply_windows(values: Pixels, windows: tuple[Window, ...], file: Path) -> NDArray[np.float32]:
    """Grey values [H, W] through each window: float32 [windows, H, W] in 0..1."""
    if not np.isfinite(values).all():
        raise unreadable(file, "some of its values are not finite (NaN or infinity)")
    planes = [np.clip((values - window.low) / window.width, 0, 1) for window in windows]
    return np.stack(planes).astype(np.float32)
