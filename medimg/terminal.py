"""Prints for people, also where nobody reads on: the reader of a pipe may have had enough."""

import sys
from typing import TextIO


def show(text: str, stream: TextIO | None = None) -> None:
    """Prints a line; to standard output unless told otherwise."""
    try:
        print(text, file=stream or sys.stdout, flush=True)
    except BrokenPipeError:
        return  # as in `medimg leaderboard | head`
