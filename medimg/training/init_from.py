"""Starts a model from the weights of another run's checkpoint."""

import logging
from pathlib import Path

from torch import Tensor

from medimg.errors import RequestError
from medimg.models.backbone import head_names
from medimg.models.classifier import ImageClassifier
from medimg.training.checkpoint_files import read_checkpoint

log = logging.getLogger(__name__)


def init_from(classifier: ImageClassifier, path: str) -> None:
    """Takes over the trunk, and the head too where it tells the same classes apart.

    The images that the checkpoint was trained on are not known to be others than those of this run's validation and
    test; that is for the user to see to.

    Raises:
        RequestError: there is no such checkpoint, or it is of another model.
    """
    file = Path(path).expanduser()
    content = read_checkpoint(file)
    found: dict[str, Tensor] = content["state_dict"]
    same_classes = tuple(content["hyper_parameters"]["classes"]) == classifier.classes
    wanted = classifier.state_dict()
    layers = tuple(f"backbone.net.{name}." for name in head_names(classifier.backbone.net))
    head = {name for name in wanted if name.startswith(layers)}
    left_out = set() if same_classes else head
    taken = {name: value for name, value in found.items() if name.startswith("backbone.") and name not in left_out}
    needed = {name: value.shape for name, value in wanted.items() if name.startswith("backbone.")}
    other = [
        name
        for name in sorted({*taken, *needed} - left_out)
        if name not in taken or name not in needed or taken[name].shape != needed[name]
    ]
    if other:
        raise RequestError(f"model.init_from={path}: a checkpoint of another model, as {other[0]} shows")
    classifier.load_state_dict(taken, strict=False)
    log.info("weights from %s%s", file, "" if same_classes else "; the head is new, as the classes are others")
