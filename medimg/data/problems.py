"""What is wrong with the data itself: refused at once when training, gathered by `medimg check`, which goes on."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

from medimg.errors import RequestError

log = logging.getLogger(__name__)


class Problem(NamedTuple):
    """One thing that is wrong with the data.

    `kind` is one of the kinds of `medimg.checks.findings`; `files` are paths, as in the manifest where they are in it.
    `refused` tells what training would stop at from what it would only warn of.
    """

    kind: str
    message: str
    cure: str = ""
    files: tuple[str, ...] = ()
    refused: bool = True

    def tell(self) -> None:
        """What training makes of it: RequestError, or a warning in the log."""
        said = f"{self.message} {self.cure}".rstrip()
        if self.refused:
            raise RequestError(said)
        log.warning("%s", said)


_gathered: ContextVar[list[Problem] | None] = ContextVar("gathered", default=None)


def refuse(kind: str, message: str, cure: str = "", files: Iterable[str] = ()) -> None:
    """Raises RequestError; but where problems are being gathered, notes it and returns.

    So the caller has to go on sensibly after it: leave the image out, or take the first of two.
    """
    problems = _gathered.get()
    problem = Problem(kind, message, cure, tuple(files))
    if problems is None:
        problem.tell()
    elif problem not in problems:  # some folders are listed twice
        problems.append(problem)


def remark(kind: str, message: str, cure: str = "", files: Iterable[str] = ()) -> None:
    """Logs a warning; but where problems are being gathered, notes it."""
    problems = _gathered.get()
    problem = Problem(kind, message, cure, tuple(files), refused=False)
    if problems is None:
        problem.tell()
    else:
        problems.append(problem)


@contextmanager
def gathered() -> Iterator[list[Problem]]:
    """Within it, nothing that is wrong with the data is refused or logged: it all comes into this list."""
    problems: list[Problem] = []
    token = _gathered.set(problems)
    try:
        yield problems
    finally:
        _gathered.reset(token)
