"""Pictures that Pillow reads: PNG, JPEG, TIFF and the like, in the depth that the file has."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from medimg.config.windows import Window
from medimg.data.readers.common import Pixels, to_unit
from medimg.data.readers.refusals import PICTURES_HAVE_NONE, no_window, unreadable
from medimg.errors import RequestError

# What is opened at all: Pillow knows others, and some of them start other programs. JPEG includes MPO.
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000")
# A JPEG of several pictures (MPO, as phones write it) is one picture with previews; other files of several are series.
_ONE_PICTURE_FORMATS = frozenset({"JPEG", "MPO"})


def read_picture(file: Path, channels: Literal[1, 3], frame: int | None, windows: tuple[Window, ...]) -> Pixels:
    """The pixels [H, W] or [H, W, 3], turned upright where the EXIF data says so.

    8-bit images, and 1-bit ones as 0 and 255, come as uint8. Deeper grey images come as float32 in 0..1: 16-bit ones
    and 32-bit integers divided by 65535, floating point as it is; other values are refused. (Pillow itself reads colour
    of 16 bits as 8, by its high byte.) Colour and palettes become grey by luma (ITU-R 601). Transparency is dropped and
    the colours below it kept. What is a picture has no window, and no frames.
    """
    try:
        with file.open("rb") as stream, Image.open(stream, formats=FORMATS) as image:
            if windows:
                raise no_window(file, PICTURES_HAVE_NONE)
            if frame is not None:
                raise unreadable(file, f"frame {frame} of it was asked for, and it is a single picture")
            _check_single(image, file)
            image.load()
            pixels = _pixels(ImageOps.exif_transpose(image), channels)
    except (RequestError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        known = f"{', '.join(FORMATS)}, DICOM, NIfTI"
        raise unreadable(file, f"it is no image of a known format ({known})") from error
    except Exception as error:  # decoders raise many kinds: OSError, SyntaxError, ValueError, struct.error...
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise unreadable(file, reason or type(error).__name__) from error
    return to_unit(pixels, file)


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
