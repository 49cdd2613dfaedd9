"""What a sweep shows while it runs: the lines of all jobs, and on a terminal one bar below them."""

import sys
from typing import TextIO

from tqdm import tqdm


class _Bar(tqdm):  # type: ignore[misc]
    monitor_interval = 0  # tqdm's own thread would be in the way of forking


class Display:
    """The one place that writes to the terminal while jobs run.

    Args:
        total: how many jobs there are now.
        more: whether others will follow, as in a search: then a job is not said to be one of so many.
        labelled: whether a line has to say which job it is from.
        stream: standard error unless told otherwise.
    """

    def __init__(self, total: int, *, labelled: bool, more: bool = False, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.of, self.labelled = "" if more else f" of {total}", labelled
        self._running: list[int] = []
        self._failed = 0
        self._bar = (
            _Bar(total=total, unit="job", file=self.stream, leave=False, dynamic_ncols=True)
            if self.stream.isatty()
            else None
        )

    def started(self, number: int, what: str) -> None:
        """A job begins."""
        self._running.append(number)
        self.say(f"job {number + 1}{self.of}: {what}")
        self._refresh()

    def line(self, number: int, text: str) -> None:
        """A job has printed a line."""
        self.say(f"[{number + 1}] {text}" if self.labelled else text)

    def ended(self, number: int, *, failed: bool) -> None:
        """A job is over."""
        self._running.remove(number)
        self._failed += failed
        if self._bar is not None:
            self._bar.update()
        self._refresh()

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self._bar is not None:
            self._bar.write(text, file=self.stream)
        else:
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.close()

    def _refresh(self) -> None:
        if self._bar is not None:
            parts = [f"running {', '.join(str(number + 1) for number in self._running)}"] if self._running else []
            parts += [f"{self._failed} failed"] if self._failed else []
            self._bar.set_postfix_str("; ".join(parts))
