"""What a run was made with: versions, the state of the code, the device."""

import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from medimg.data.cache.digests import versions_of

PACKAGES = (
    "medimg",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "hydra-core",
    "omegaconf",
    "numpy",
    "pillow",
    "scikit-learn",
)


def versions() -> dict[str, str | None]:
    """The version of Python and of each package that can change a result; None where one is not installed."""
    return {"python": platform.python_version(), **versions_of(PACKAGES)}


def git_state(folder: Path) -> dict[str, str | bool] | None:
    """The commit that a folder stands at and whether it was changed since; None outside a checkout."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain"))}


def now() -> str:
    """The time in UTC, ISO 8601, to the microsecond, so that runs can be put in order."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def command() -> str:
    """The command line of this process, as it can be given again."""
    name = Path(sys.argv[0]).name
    return shlex.join(["medimg" if name == "__main__.py" else name, *sys.argv[1:]])


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - fixed program, no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607 - git is wherever the user has it
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
