"""Maps of attention laid over their images, for reports and files."""

from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from medimg.files import write_bytes

_GAP = 4  # white pixels between two pictures
_COLOURS = "viridis"  # rises in lightness alone, so it can be read with any colour vision, and in grey


def overlay(image: Tensor, weight: Tensor, strength: float = 0.6) -> NDArray[np.uint8]:
    """The image, coloured where the map is high, and left as it is where the map is zero.

    Args:
        image: [C, H, W], one or three channels, 8-bit or in 0..1, of any size.
        weight: the map, [H, W] in 0..1, as `medimg.models.explain.class_maps` gives it.
        strength: how much of the colour covers the image where the map is 1.

    Returns:
        Pixels [H, W, 3].
    """
    pixels = _pixels(image).astype(np.float64)
    values = weight.detach().cpu().double().numpy()
    if values.shape != pixels.shape[:2]:
        raise ValueError(f"a map of {values.shape} does not fit an image of {pixels.shape[:2]}")
    colours = matplotlib.colormaps[_COLOURS](values)[..., :3] * 255
    share = strength * values[..., None]
    blended: NDArray[np.uint8] = np.rint(pixels * (1 - share) + colours * share).astype(np.uint8)
    return blended


def write_overlay(file: Path, image: Tensor, weight: Tensor) -> None:
    """Writes a PNG of the image beside its overlay; the arguments are those of `overlay`."""
    gap = np.full((image.shape[-2], _GAP, 3), 255, dtype=np.uint8)
    stream = BytesIO()
    Image.fromarray(np.hstack([_pixels(image), gap, overlay(image, weight)])).save(stream, format="PNG")
    write_bytes(file, stream.getvalue())


def _pixels(image: Tensor) -> NDArray[np.uint8]:
    """[H, W, 3] of 8 bits."""
    values: NDArray[Any] = image.detach().cpu().numpy()
    if values.dtype != np.uint8:
        values = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(values, (3, *values.shape[1:])).transpose(1, 2, 0))
