"""How files that are not read are refused: the words, and what is too large to be true."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medimg.errors import RequestError

# As Pillow refuses them (twice its MAX_IMAGE_PIXELS): a small file that claims to be huge is damaged, or meant to harm.
MOST_PIXELS = 178_956_970
PICTURES_HAVE_NONE = "this is a picture: grey levels that were windowed already when it was exported"
CURE = "Replace it, or remove it from the data."
NO_CT = "this DICOM file is no CT"


class SettingError(RequestError):
    """Nothing is wrong with the file: it does not fit the settings, or packages are missing.

    So `data.on_error=skip` does not leave it out. `cause` and `cure` are the same for all files that share them.
    """

    cause = ""
    cure = ""


def unreadable(file: Path, reason: str) -> RequestError:
    """The error of a file that cannot be read, with what to do about it."""
    return RequestError(f"{file}: the image cannot be read: {reason.rstrip('.')}. {CURE}")


def setting_error(file: Path, cause: str, cure: str) -> SettingError:
    """The error of a file that needs another setting."""
    error = SettingError(f"{file}: {cause}. {cure}")
    error.cause, error.cure = cause, cure
    return error


def missing_extra(file: Path, what: str, extra: str) -> SettingError:
    """The error of a file whose format needs packages that are not installed."""
    return setting_error(
        file, f"{what} needs packages that are not installed", f"Install them: pip install 'medimg[{extra}]'"
    )


def no_window(file: Path, why: str) -> SettingError:
    """The error of data.window where there are no Hounsfield units."""
    return setting_error(
        file,
        f"data.window needs Hounsfield units, and {why}",
        "Give data.window=null, or the original CT files (DICOM, or NIfTI); or remove what is no CT from the data.",
    )


def check_size(file: Path, height: int, width: int) -> None:
    """Raises RequestError where a picture is empty, or larger than any real one."""
    if height < 1 or width < 1:
        raise unreadable(file, f"its header says {height}x{width} pixels")
    if height * width > MOST_PIXELS:
        raise unreadable(file, f"its header says {height}x{width} pixels, more than the limit of {MOST_PIXELS:,}")


@contextmanager
def guarded(file: Path, reason: str) -> Iterator[None]:
    """Within it, whatever a library raises on a damaged file becomes the error of a file that cannot be read.

    What the library said is neither shown nor chained: it may quote the header, and with it names of patients.
    """
    try:
        yield
    except (RequestError, MemoryError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":  # of plugins in Rust
            raise
        raise unreadable(file, reason) from None
