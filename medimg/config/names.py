"""Folder names that no value can break: for runs, and for the jobs of a sweep."""

import hashlib
import re
import secrets
from collections.abc import Sequence

_QUIET = ("data.root", "paths.", "name=", "hydra", "allow", "sweep", "data.num_workers", "trainer.enable_progress_bar")
_LONGEST = 96


def unique() -> str:
    """Six random hexadecimal digits: two runs started in the same second get two folders."""
    return secrets.token_hex(3)


def job_folder(overrides: Sequence[str]) -> str:
    """A readable name for a job from its overrides, the same each time, in `[A-Za-z0-9._-]`.

    What says where things are, rather than what is tried, is left out of the readable part but not of the hash. How the
    sweep goes on (`sweep.on_error`) is left out of both: it makes no other job.
    """
    overrides = sorted(str(override) for override in overrides if not str(override).startswith("sweep."))
    digest = hashlib.sha256("\n".join(overrides).encode()).hexdigest()[:8]
    shown = [_readable(override) for override in overrides if not override.lstrip("+~").startswith(_QUIET)]
    readable = "_".join(shown)[:_LONGEST].strip("-_.")
    return f"{readable or 'default'}-{digest}"


def _readable(override: str) -> str:
    key, _, value = override.partition("=")
    last = value.rstrip("/").rpartition("/")[2]
    if re.fullmatch(r"\d+\.\d{5,}(e[+-]?\d+)?", last):
        last = f"{float(last):.4g}"  # as a search draws them; the hash knows all digits
    last = last.replace("e+", "e")
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{key.rpartition('.')[2]}-{last}").strip("-")
