"""Reads checkpoints: without running code, and only where they fit the run."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from medimg.config.older import completed
from medimg.errors import RequestError
from medimg.models.trunk import join_trunk

# what the optimizer's and the scheduler's state in a checkpoint belongs to
_TRAINING = ("optimizer", "scheduler")


class Position(NamedTuple):
    """How far a training has come: whole epochs, batches of the next one, optimizer steps in all."""

    epoch: int
    batches: int
    steps: int


def position(checkpoint: Mapping[str, Any]) -> Position:
    """Where the training goes on that a checkpoint holds the state of."""
    loop = checkpoint["loops"]["fit_loop"]
    epoch = int(loop["epoch_progress"]["current"]["processed"])
    in_between = epoch == int(checkpoint["epoch"])
    batches = int(loop["epoch_loop.batch_progress"]["current"]["processed"]) if in_between else 0
    return Position(epoch, batches, int(checkpoint["global_step"]))


def read_checkpoint(file: Path, classes: Sequence[str] | None = None) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU, without running any code that it may hold; a frozen trunk is in it.

    The configuration of its run has the keys that it is too old for, at what the run did.

    Raises:
        RequestError: the file or that of its trunk is missing or damaged, it is not a checkpoint of medimg, or of other
            classes than those given.
    """
    if not file.is_file():
        raise RequestError(f"there is no checkpoint {file}")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        found = content["hyper_parameters"]["classes"]
        content["epoch"], content["state_dict"]
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        # torch's own words advise to run whatever code the file holds
        unsafe = isinstance(error, pickle.UnpicklingError)
        reason = "it holds no plain weights" if unsafe else next(iter(str(error).splitlines()), type(error).__name__)
        raise RequestError(
            f"{file} cannot be read as a checkpoint: it is cut off, damaged or of another kind\n  {reason}"
        ) from error
    except (KeyError, TypeError):
        raise RequestError(f"{file} is not a checkpoint of medimg; weights alone go to model.weights=FILE") from None
    if classes is not None and list(found) != list(classes):
        raise RequestError(f"{file} was trained for the classes {list(found)}; the data has {list(classes)}")
    checkpoint: dict[str, Any] = content
    join_trunk(checkpoint, file)
    if "config" in (run := checkpoint.get("run", {})):
        run["config"] = completed(run["config"])
    return checkpoint


def refuse_other_training(checkpoint: Mapping[str, Any], wanted: Mapping[str, Any], file: Path) -> None:
    """A full state goes on with the optimizer and schedule that it was made by; other settings would be ignored.

    Raises:
        RequestError: the settings differ; the message names them.
    """
    found = checkpoint["hyper_parameters"]
    differing = [
        f"{group}.{name}={_of(wanted, group, name)} (the checkpoint: {_of(found, group, name)})"
        for group in _TRAINING
        for name in sorted({*(found[group] or {}), *(wanted[group] or {})})
        if _of(found, group, name) != _of(wanted, group, name)
    ]
    if differing:
        raise RequestError(
            f"{file} holds the full state of a training with other settings, which it would go on with\n  "
            + "\n  ".join(differing)
            + "\n  for other settings, a new run can start from weights alone: model.init_from=FILE"
        )


def refuse_other_model(checkpoint: Mapping[str, Any], wanted: Mapping[str, Tensor], file: Path) -> None:
    """Raises RequestError where the weights of a checkpoint do not fit; the message names the first that does not."""
    found = checkpoint["state_dict"]
    for name in sorted({*found, *wanted}):
        shapes = [tuple(weights[name].shape) if name in weights else None for weights in (found, wanted)]
        if shapes[0] != shapes[1]:
            there, here = ("not there" if shape is None else f"of shape {list(shape)}" for shape in shapes)
            raise RequestError(f"{file} is a checkpoint of another model: {name} is {there} in it, and {here} here")


def _of(settings: Mapping[str, Any], group: str, name: str) -> Any:
    return (settings[group] or {}).get(name)
