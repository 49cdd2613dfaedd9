"""Writes the weights of a frozen trunk once: for all checkpoints of a run, and for all runs of a study."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from medimg.files import link, replaced
from medimg.models.classifier import ImageClassifier
from medimg.models.trunk import ENTRY, IN_CLASSIFIER, Trunk, read_trunk, trunk_of

_LEVELS = 2  # from the file up to the study: the folder of checkpoints, the run


class FrozenTrunk(Callback):
    """Takes a frozen trunk out of the state that is to be saved; `AtomicCheckpointIO` puts it beside the checkpoint."""

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Moves it, in the process that writes."""
        frozen = isinstance(pl_module, ImageClassifier) and pl_module.backbone.freeze is True
        if not (frozen and trainer.is_global_zero):
            return
        trunk = trunk_of(pl_module.backbone)  # type: ignore[arg-type]
        for name in trunk.state:
            del checkpoint["state_dict"][f"{IN_CLASSIFIER}{name}"]
        checkpoint[ENTRY] = trunk


def keep_trunk(trunk: Trunk, folder: Path) -> None:
    """Makes sure that the trunk's file is in a folder of checkpoints, as another run's of the same study where it can.

    Runs of a study lie side by side, and have a folder of checkpoints of the same name.
    """
    file = folder.absolute() / trunk.file_name
    if file.is_file() or _shared(file, trunk.digest):
        return
    with replaced(file) as unfinished, unfinished.open("wb") as stream:
        torch.save({name: value.cpu() for name, value in trunk.state.items()}, stream)
    _shared(file, trunk.digest)  # by a job that has started at the same time


def _shared(file: Path, digest: str) -> bool:
    """Whether another run of the study had the file, so that it is here under a second name."""
    if len(file.parents) <= _LEVELS:
        return False  # too near the top for a study
    for other in sorted(file.parents[_LEVELS].glob(f"*/{file.parent.name}/{file.name}")):
        with suppress(OSError):  # gone, in the meantime
            same = file.exists() and other.samefile(file)
            if not same and read_trunk(other, digest) is not None:
                link(other, file)
                return True
    return False
