"""Where an evaluation of a run is written: into the run's own files, or below its `evaluations/`."""

import hashlib
from pathlib import Path

from medimg.runs import RunFolder


def checkpoint_name(folder: RunFolder, file: Path) -> str:
    """What a checkpoint is called in the names of folders; one from elsewhere is marked by where it is."""
    own = file.absolute().parent == folder.checkpoints
    return file.stem if own else f"{file.stem}-{hashlib.sha256(str(file.absolute()).encode()).hexdigest()[:8]}"


def place_of(folder: RunFolder, checkpoint: str, images: str | None, views: str | None) -> RunFolder:
    """The folder of an evaluation, named by what is not the run's own; the run's where all of it is.

    Args:
        folder: of the run.
        checkpoint: its name; `best` is the run's own.
        images: the name of other images.
        views: the name of a way to vary images.
    """
    what = "_".join(part for part in (None if checkpoint == "best" else checkpoint, images, views) if part)
    return RunFolder(folder.path / "evaluations" / what) if what else folder
