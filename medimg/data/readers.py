"""Image files to tensors: one way to read all kinds, and no pixel guessed."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from medimg.errors import RequestError

_UINT16_MAX = 65535.0
# What is opened at all: Pillow knows others, and some of them start other programs. JPEG includes MPO.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")
# A JPEG of several pictures (MPO, as phones write it) is one picture with previews; other files of several are series.
_ONE_PICTURE_FORMATS = frozenset({"JPEG", "MPO"})


def read_image(file: Path, channels: Literal[1, 3]) -> torch.Tensor:
    """Read one image as a tensor [channels, height, width], turned upright where its EXIF data says so.

    8-bit images, and 1-bit ones as 0 and 255, come as uint8. Deeper grey images come as float32 in 0..1: 16-bit ones
    and 32-bit integers divided by 65535, floating point as it is. Values out of that range are an error, never clipped
    or rescaled image by image, since that would lose what sets two images apart. (Pillow itself reads colour of 16 bits
    as 8, by its high byte.)

    Grey is repeated to three channels; colour and palettes become grey by luma (ITU-R 601). Transparency is dropped and
    the colours below it kept. Raises RequestError, with the file and the reason, where the file cannot be read whole or
    holds several pictures.
    """
    try:
        if file.stat().st_size == 0:
            raise _unreadable(file, "it is empty (0 bytes)")
        with file.open("rb") as stream, Image.open(stream, formats=_FORMATS) as image:
            _check_single(image, file)
            image.load()
            pixels = _pixels(ImageOps.exif_transpose(image), channels)
    except (RequestError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise _unreadable(file, f"it is no image of a known format ({', '.join(_FORMATS)})") from error
    except Exception as error:  # decoders raise many kinds: OSError, SyntaxError, ValueError, struct.error...
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise _unreadable(file, reason or type(error).__name__) from error
    if pixels.dtype != np.uint8:
        pixels = _unit_range(pixels, file)
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    planes = np.repeat(planes, channels, axis=0) if len(planes) == 1 else planes
    return torch.from_numpy(np.ascontiguousarray(planes))


def _check_single(image: Image.Image, file: Path) -> None:
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1 and image.format not in _ONE_PICTURE_FORMATS:
        raise RequestError(
            f"{file}: it holds {pictures} pictures (frames or pages), and an image must hold one. "
            "Save each picture that counts as a file of its own."
        )


def _pixels(image: Image.Image, channels: Literal[1, 3]) -> NDArray[np.generic]:
    """Pixels [H, W] or [H, W, 3], in the file's own depth for grey of more than 8 bits."""
    mode = image.mode
    if mode in {"I", "F"} or mode.startswith("I;16"):
        return np.array(image)
    if mode in {"1", "L", "LA"}:
        return np.array(image.convert("L"))
    colour = image.convert("RGB")
    return np.array(colour if channels == 3 else colour.convert("L"))


def _unit_range(pixels: NDArray[np.generic], file: Path) -> NDArray[np.float32]:
    """Deep grey values as float32 in 0..1."""
    is_float = np.issubdtype(pixels.dtype, np.floating)
    top = 1.0 if is_float else _UINT16_MAX
    low, high = float(np.min(pixels)), float(np.max(pixels))
    if not (low >= 0 and high <= top):  # so that NaN fails too
        kind = "floating point" if is_float else "32-bit integers"
        raise RequestError(
            f"{file}: its values ({kind}) reach from {low:g} to {high:g}; allowed are 0 to {top:g}. "
            "Rescale all images of the data set by the same rule, for example to 16-bit PNG."
        )
    return pixels.astype(np.float32) / np.float32(top)


def _unreadable(file: Path, reason: str) -> RequestError:
    return RequestError(
        f"{file}: the image cannot be read: {reason.rstrip('.')}. Replace it, or remove it from the data."
    )
