"""The run folder: its layout, its status, and where it came from."""

from medimg.runs.folder import RunFolder, find_run

__all__ = ["RunFolder", "find_run"]
