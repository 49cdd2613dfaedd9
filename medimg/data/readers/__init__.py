"""Image files to tensors: one way to read all formats, chosen by content, and no pixel guessed."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from medimg.config.windows import Window, WindowValue, parse_windows
from medimg.errors import RequestError

if TYPE_CHECKING:
    import torch

    from medimg.data.readers.common import Pixels

__all__ = ["check_channels", "read_image"]


def read_image(
    file: Path, channels: Literal[1, 3], *, frame: int | None = None, window: WindowValue | None = None
) -> "torch.Tensor":
    """Read one image as a tensor [channels, height, width]: uint8, or float32 in 0..1.

    Pictures (PNG, JPEG, TIFF and others) of 8 bits come as uint8, deeper ones as float32; DICOM and NIfTI as float32.
    What becomes 0 and 1 is the same rule for every image of a data set, never the darkest and brightest of each; it is
    said in `pictures`, `dicom`, `nifti` and `npz`. Grey is repeated to three channels; colour becomes grey by luma
    (ITU-R 601).

    Args:
        file: the file.
        channels: of the tensor.
        frame: which frame of a DICOM file, axial slice of a volume, or row of an archive, from 0.
        window: `data.window`: the Hounsfield units that become 0 and 1, for CT alone; three windows are the channels.

    Raises:
        RequestError: with the file and the reason: it cannot be read whole, it holds several pictures and `frame` does
            not say which, or a window was asked for and there are no Hounsfield units.
    """
    import numpy as np
    import torch

    windows = check_channels(window, channels)
    pixels = _read(file, channels, frame, windows)
    if not windows:  # with windows, planes come first already
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    planes = np.repeat(pixels, channels, axis=0) if len(pixels) == 1 else pixels
    return torch.from_numpy(np.ascontiguousarray(planes))


def check_channels(window: WindowValue | None, channels: int) -> tuple[Window, ...]:
    """The windows; raises RequestError where they are more than the channels of the model."""
    windows = parse_windows(window)
    if len(windows) > channels:
        raise RequestError(
            f"data.window gives {len(windows)} windows as channels, and the model takes {channels}. "
            "Give one window, or a model of three channels (model.in_channels=3)."
        )
    return windows


def _read(file: Path, channels: Literal[1, 3], frame: int | None, windows: tuple[Window, ...]) -> "Pixels":
    """[H, W] or [H, W, 3]; with windows [windows, H, W]."""
    from medimg.data.readers.refusals import unreadable
    from medimg.data.readers.sniff import kind_of

    try:
        kind = kind_of(file)
        if file.stat().st_size == 0:
            raise unreadable(file, "it is empty (0 bytes)")
    except OSError as error:
        raise unreadable(file, error.strerror or type(error).__name__) from error
    if kind == "dicom":
        from medimg.data.readers.dicom import read_dicom

        return read_dicom(file, channels, frame, windows)
    if kind == "nifti":
        from medimg.data.readers.nifti import read_slice

        return read_slice(file, frame, windows)
    if kind == "npz":
        from medimg.data.readers.npz import read_row

        return read_row(file, channels, frame, windows)
    from medimg.data.readers.pictures import read_picture

    return read_picture(file, channels, frame, windows)
