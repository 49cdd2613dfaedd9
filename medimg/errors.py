"""The errors that users meet: what was found, where, what is allowed, what to do."""

import signal
from collections.abc import Iterable
from difflib import get_close_matches


class MedimgError(Exception):
    """The work failed: exit code 1. The message is shown as it is, without a traceback."""

    exit_code = 1


class RequestError(MedimgError):
    """The request was wrong, in config, data or a file: exit code 2."""

    exit_code = 2


class Interrupted(BaseException):
    """A signal asked the work to end. No Exception, so that nothing on the way takes it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def nearest(found: str, allowed: Iterable[str], n: int = 3) -> list[str]:
    """The allowed names most like the one found, best first; case does not count.

    A name without dots may also mean the end of a dotted one: `lr` for `optimizer.lr`.
    """
    by_folded = {name.casefold(): name for name in allowed}
    matches = get_close_matches(found.casefold(), by_folded, n=n, cutoff=0.6)
    if not matches and "." not in found:
        ends = {folded.rpartition(".")[2]: folded for folded in reversed(by_folded)}
        matches = [ends[end] for end in get_close_matches(found.casefold(), ends, n=n, cutoff=0.7)]
    return [by_folded[match] for match in matches]


def suggestion(found: str, allowed: Iterable[str]) -> str:
    """A sentence that names the nearest allowed name, or nothing where none is near."""
    matches = nearest(found, allowed, n=1)
    return f"Did you mean {matches[0]!r}?" if matches else ""
