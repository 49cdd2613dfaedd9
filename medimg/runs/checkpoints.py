"""Which checkpoint a user means, and how far the run came that left it; nothing heavy is loaded."""

from pathlib import Path

from medimg.errors import RequestError
from medimg.runs.folder import RunFolder
from medimg.runs.lock import is_abandoned


def find_checkpoint(folder: RunFolder, name: str) -> Path:
    """The file that a user means by `best`, `last`, the name of a kept epoch such as `epoch_001`, or a path.

    Raises:
        RequestError: there is no such file; the message names those that the run has.
    """
    own = folder.checkpoints / f"{name}.ckpt"
    file = own if name in {"best", "last"} or own.is_file() else Path(name).expanduser()
    if not file.is_file():
        there = sorted(path.stem for path in folder.checkpoints.glob("*.ckpt"))
        raise RequestError(
            f"checkpoint={name}: there is no file {file}\n"
            f"  {folder.shown} has {', '.join(there) if there else 'no checkpoints: no epoch of it has ended'}"
        )
    return file


def find_checkpoints(folder: RunFolder, which: str) -> list[Path]:
    """The same, or with `all` every epoch that was kept, in their order.

    Raises:
        RequestError: there is none.
    """
    if which != "all":
        return [find_checkpoint(folder, which)]
    files = sorted(folder.checkpoints.glob("epoch_*.ckpt"))
    if not files:
        raise RequestError(
            f"checkpoint=all: {folder.shown} has kept no epoch but the best and the last\n"
            "  callbacks.checkpoint.every_epoch=true keeps all, when it is trained"
        )
    return files


def told_unfinished(folder: RunFolder) -> str | None:
    """That a run has not come to its end, in a line; None where it has, or where its status is not known."""
    status = folder.info().get("status")
    if status in {None, "completed"}:
        return None
    what = {
        "interrupted": "was interrupted",
        "failed": "failed",
        "running": "was killed" if is_abandoned(folder.path) else "is still running",
    }.get(str(status), f"is {status}")
    wanted = (folder.read_config().get("trainer") or {}).get("max_epochs")
    of = f" of {wanted}" if wanted else ""
    return f"{folder.shown} {what} after {folder.epochs()}{of} epochs: its best checkpoint is the best of these"
