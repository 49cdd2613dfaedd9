"""From a run folder to its classifier, ready to be asked."""

from inspect import signature
from pathlib import Path

import torch

from medimg.config.check import Allowed
from medimg.errors import RequestError
from medimg.models.classifier import ImageClassifier
from medimg.runs import RunFolder
from medimg.runs.checkpoints import find_checkpoint
from medimg.training.checkpoint_files import read_checkpoint, refuse_other_model


def load_classifier(
    folder: RunFolder, checkpoint: Path | None = None, *, allow: Allowed | None = None
) -> ImageClassifier:
    """The classifier of a run, in eval mode, on the CPU. Nothing is downloaded, and no code of the file is run.

    Args:
        folder: of the run.
        checkpoint: a file; None: the best epoch.
        allow: targets of the user's own, by group; a run's word is not enough.

    Raises:
        RequestError: there is no such checkpoint, it is damaged, of other classes than the run's, or of code that is
            not allowed.
    """
    file = find_checkpoint(folder, "best") if checkpoint is None else checkpoint
    content = read_checkpoint(file, folder.info().get("classes"))
    settings = content["hyper_parameters"] | {"load_weights": False}
    if unknown := sorted(settings.keys() - signature(ImageClassifier).parameters.keys()):
        raise RequestError(f"{file} has settings that this version of medimg does not know: {', '.join(unknown)}")
    allowed = None if allow is None else {group: list(targets) for group, targets in allow.items()}
    with torch.random.fork_rng(devices=[]):  # the layers draw weights, which the checkpoint's replace
        classifier = ImageClassifier(**settings, allow=allowed)
    refuse_other_model(content, classifier.state_dict(), file)
    classifier.load_state_dict(content["state_dict"])
    return classifier.eval()
