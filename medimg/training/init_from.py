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
    same_classes = tuple(content["hyper_parameters"]["classes"]) == classifier.classes
    wanted = {name: value for name, value in classifier.state_dict().items() if name.startswith("backbone.")}
    found: dict[str, Tensor] = {k: value for k, value in content["state_dict"].items() if k.startswith("backbone.")}
    layers = tuple(f"backbone.net.{name}." for name in head_names(classifier.backbone.net))
    head = [name for name in wanted if name.startswith(layers)]
    trunk = [name for name in wanted if name not in head]
    theirs = [name for name in found if name not in trunk]  # their head: its names change with a dropout before it
    other = [name for name in trunk if name not in found or found[name].shape != wanted[name].shape]
    shapes = [[tuple(weights[name].shape) for name in names] for weights, names in ((wanted, head), (found, theirs))]
    if other or len(theirs) != len(head) or (same_classes and shapes[0] != shapes[1]):
        raise RequestError(
            f"model.init_from={path}: a checkpoint of another model, as {(other or [*theirs, *head])[0]} shows"
        )
    taken = {name: found[name] for name in trunk}
    if same_classes:
        taken |= {name: found[source] for name, source in zip(head, theirs, strict=True)}
    classifier.load_state_dict(taken, strict=False)
    log.info("weights from %s%s", file, "" if same_classes else "; the head is new, as the classes are others")
