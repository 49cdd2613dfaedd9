"""Reads every image once: whether it can be read whole, how bright it is, and how it looks from far away."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medimg.config.windows import parse_windows
from medimg.data.manifest import Manifest, Record
from medimg.data.readers.refusals import SettingError
from medimg.errors import RequestError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GRID = 16  # cells a side
FRAME = 2  # cells of the border on each side: an eighth of the image


@dataclass(frozen=True)
class Look:
    """What is kept of an image's pixels, grey, in 0..1.

    Attributes:
        size: (height, width), upright.
        means: [GRID, GRID] mean of each cell.
        spreads: [GRID, GRID] standard deviation within each cell: edges, lettering, noise.
        black: share of pixels that are 0.
        white: share of pixels that are 1.
    """

    size: tuple[int, int]
    means: "NDArray[np.float32]"
    spreads: "NDArray[np.float32]"
    black: float
    white: float


Seen = Look | str | SettingError  # what an image looks like, or why it cannot be read


def look_at(manifest: Manifest, *, workers: int = 0, progress: bool = False) -> list[Seen]:
    """What each image looks like, or why it cannot be read: the reason in words, or the setting that it needs.

    Args:
        manifest: the images.
        workers: threads; 0: one for each core. The decoders release Python's lock.
        progress: show a bar, on a terminal.
    """
    count = workers or len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1))

    def one(record: Record) -> Seen:
        return _look(manifest, record)

    with ThreadPoolExecutor(count) as pool:
        return list(_shown(pool.map(one, manifest.records), len(manifest.records), progress))


def _shown(results: Iterable[Any], total: int, progress: bool) -> Iterator[Any]:
    from tqdm import tqdm

    return iter(
        tqdm(results, total=total, desc="reading images", unit="", leave=False, disable=None if progress else True)
    )


def _look(manifest: Manifest, record: Record) -> Seen:
    import numpy as np
    from PIL import Image

    file = manifest.file(record)
    try:
        several = len(parse_windows(manifest.window)) > 1
        pixels = manifest.read(record, 3 if several else 1)[0].numpy()
    except SettingError as error:
        return error
    except RequestError as error:
        return _reason(str(error), str(file))
    except MemoryError:
        return "there is not enough memory for it"
    grey = pixels.astype(np.float32) / 255 if pixels.dtype == np.uint8 else pixels
    means = _cells(Image.fromarray(grey))
    squares = _cells(Image.fromarray(grey * grey))
    spreads = np.sqrt(np.maximum(squares - means * means, 0))
    height, width = pixels.shape
    return Look((height, width), means, spreads, float((grey <= 0).mean()), float((grey >= 1).mean()))


def _cells(image: Any) -> "NDArray[np.float32]":
    """The mean of each cell; images smaller than the grid are enlarged."""
    import numpy as np
    from PIL import Image

    return np.asarray(image.resize((GRID, GRID), Image.Resampling.BOX), dtype=np.float32)


def _reason(message: str, file: str) -> str:
    """The reason in a reader's message, without the file and the cure, which a finding says by itself."""
    reason = message.removeprefix(f"{file}: ").removeprefix("the image cannot be read: ")
    return reason.removesuffix(" Replace it, or remove it from the data.")
