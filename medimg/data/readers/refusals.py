"""How files that are not read are refused: the words, and what is too large to be true."""

from pathlib import Path

from medimg.errors import RequestError

# As Pillow refuses them (twice its MAX_IMAGE_PIXELS): a small file that claims to be huge is damaged, or meant to harm.
MOST_PIXELS = 178_956_970
PICTURES_HAVE_NONE = "this is a picture: grey levels that were windowed already when it was exported"


def unreadable(file: Path, reason: str) -> RequestError:
    """The error of a file that cannot be read, with what to do about it."""
    return RequestError(
        f"{file}: the image cannot be read: {reason.rstrip('.')}. Replace it, or remove it from the data."
    )


class MissingExtraError(RequestError):
    """Nothing is wrong with the file: packages are missing."""


def missing_extra(file: Path, what: str, extra: str) -> MissingExtraError:
    """The error of a file whose format needs packages that are not installed."""
    return MissingExtraError(f"{file}: {what} needs packages that are not installed: pip install 'medimg[{extra}]'")


def check_size(file: Path, height: int, width: int) -> None:
    """Raises RequestError where a picture is empty, or larger than any real one."""
    if height < 1 or width < 1:
        raise unreadable(file, f"its header says {height}x{width} pixels")
    if height * width > MOST_PIXELS:
        raise unreadable(file, f"its header says {height}x{width} pixels, more than the limit of {MOST_PIXELS:,}")


def no_window(file: Path, why: str) -> RequestError:
    """The error of data.window where there are no Hounsfield units."""
    return RequestError(
        f"{file}: data.window needs Hounsfield units, and {why}. "
        "Give data.window=null, or the original CT files (DICOM, or NIfTI)."
    )
