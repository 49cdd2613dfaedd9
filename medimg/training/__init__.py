"""What is Lightning glue and no model: the trainer, its callbacks, and the course of a run."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medimg.training.checkpoint_callbacks import checkpoints
    from medimg.training.pruning import Pruning
    from medimg.training.run import train
    from medimg.training.tensorboard import RunTensorBoard, TensorBoardFigures

__all__ = ["Pruning", "RunTensorBoard", "TensorBoardFigures", "checkpoints", "train"]

_HOMES = {
    "checkpoints": "checkpoint_callbacks",
    "train": "run",
    "RunTensorBoard": "tensorboard",
    "Pruning": "pruning",
    "TensorBoardFigures": "tensorboard",
}


def __getattr__(name: str) -> Any:
    """Loads torch and Lightning only when one of the names is asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"medimg.training.{_HOMES[name]}"), name)
