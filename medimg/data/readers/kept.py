"""Arrays that are kept in memory between two images of one file, within a bound."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import RLock
from typing import Any

from numpy.typing import NDArray


class Kept:
    """The arrays used last, by file and key, each process having its own.

    Args:
        limit: bytes; the array used last stays whatever its size. Arrays mapped from disk do not count.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = RLock()  # threads read images, too; one unpacks a file, and the others wait for it
        self._arrays: OrderedDict[tuple[object, ...], tuple[NDArray[Any], int]] = OrderedDict()

    def get(self, file: Path, key: object, make: Callable[[], NDArray[Any]], *, mapped: bool = False) -> NDArray[Any]:
        """The array, made anew where it is not there or the file has changed."""
        status = file.stat()
        with self._lock:
            return self._get((str(file), key, status.st_mtime_ns, status.st_size), make, mapped=mapped)

    def _get(self, name: tuple[object, ...], make: Callable[[], NDArray[Any]], *, mapped: bool) -> NDArray[Any]:
        if name not in self._arrays:
            array = make()
            self._arrays[name] = (array, 0 if mapped else array.nbytes)
        self._arrays.move_to_end(name)
        while len(self._arrays) > 1 and sum(size for _, size in self._arrays.values()) > self.limit:
            self._arrays.popitem(last=False)
        return self._arrays[name][0]
