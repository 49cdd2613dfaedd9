"""One model, or several as an ensemble, with all that a prediction needs to know of them."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from medimg.config.augment import AugmentConfig
from medimg.config.check import Allowed
from medimg.config.data import WindowKey
from medimg.errors import RequestError
from medimg.files import sha256
from medimg.inference.loading import load_classifier
from medimg.inference.reading import Reading
from medimg.models.classifier import ImageClassifier
from medimg.models.tta import averaged_logits, log_probabilities
from medimg.runs import RunFolder
from medimg.runs.checkpoints import find_checkpoint
from medimg.runs.folder import ENSEMBLE


@dataclass(frozen=True)
class Member:
    """One trained model.

    Attributes:
        classifier: in eval mode.
        reading: how it wants images.
        augmentation: how its training images were varied.
        seed: of its training.
        precision: of its training, as `trainer.precision` has it.
        arithmetic: of its training, as `trainer.float32_matmul_precision` has it.
        identity: SHA-256 of its checkpoint.
    """

    classifier: ImageClassifier
    reading: Reading
    augmentation: AugmentConfig
    seed: int
    precision: str | int
    arithmetic: str
    identity: str


@dataclass(frozen=True)
class Predictor:
    """What is asked about images.

    Attributes:
        members: one model, or the members of an ensemble.
        classes: in the order of the logits.
        positive_class: of a binary task.
        threshold: from which probability on an image is positive; None: no operating point was chosen.
        rule: the name of that operating point.
        temperature: that calibrates the logits; None: none was fitted.
        name: for people.
        identity: another one for whatever gives other numbers.
        views: how many varied views of each image are averaged with the plain one.
    """

    members: tuple[Member, ...]
    classes: tuple[str, ...]
    positive_class: str | None
    threshold: float | None
    rule: str | None
    temperature: float | None
    name: str
    identity: str
    views: int = 0

    @property
    def readings(self) -> tuple[Reading, ...]:
        """How images are read, each way once."""
        return tuple(dict.fromkeys(member.reading for member in self.members))

    def logits(self, images: Sequence[Tensor], positions: Tensor) -> Tensor:
        """Logits [B, K]; of several members the logarithm of the mean of their probabilities, in float64 on the CPU.

        Args:
            images: for each member [B, C, H, W], 8-bit or in 0..1, as its reading wants them.
            positions: integer [B], what tells the images apart; varied views depend on it.
        """
        asked = zip(self.members, images, strict=True)
        found = [self._of_member(member, image, positions) for member, image in asked]
        if len(found) == 1:
            return found[0]
        return torch.logsumexp(torch.stack([log_probabilities(each) for each in found]), dim=0) - math.log(len(found))

    def _of_member(self, member: Member, images: Tensor, positions: Tensor) -> Tensor:
        if not self.views:
            logits: Tensor = member.classifier(images)
            return logits
        return averaged_logits(member.classifier, images, positions, member.augmentation, self.views, member.seed)

    def with_views(self, views: int, augmentation: AugmentConfig | None = None) -> "Predictor":
        """The same with test-time augmentation.

        Args:
            views: how many beside the plain image.
            augmentation: how they are varied; None: as each member's training images were.

        Raises:
            RequestError: nothing is varied.
        """
        members = tuple(
            member if augmentation is None else replace(member, augmentation=augmentation) for member in self.members
        )
        if not all(any(msgspec.structs.astuple(member.augmentation)) for member in members):
            whose = "the run was trained without augmentation" if augmentation is None else "it varies nothing"
            raise RequestError(
                f"tta={views}: all views of an image would be the same, as {whose}\n"
                "  augment=rotate_zoom (or light, or strong) says how they are varied"
            )
        varied = [msgspec.to_builtins(member.augmentation) for member in members]
        identity = _digest([self.identity, views, varied, [member.seed for member in members]])
        return replace(self, members=members, views=views, identity=identity)


class _WrittenMember(msgspec.Struct):
    """A member in ensemble.json; the run's folder may be relative to the ensemble's."""

    run: str
    checkpoint: str = "best"
    sha256: str | None = None


class _Written(msgspec.Struct):
    """What of ensemble.json is read here."""

    members: list[_WrittenMember]
    classes: list[str] | None = None


def load_predictor(folder: Path, checkpoint: str | None = None, *, allow: Allowed | None = None) -> Predictor:
    """The predictor of a run folder, or of an ensemble's.

    Args:
        folder: absolute; see `find_model`.
        checkpoint: of a run: `best`, `last` or a file; None: the best epoch. Operating point and temperature were
            chosen for the best epoch, and are not applied to others.
        allow: targets of the user's own, by group.

    Raises:
        RequestError: a folder or checkpoint cannot be used, or members know other classes.
    """
    if (folder / ENSEMBLE).is_file():
        if checkpoint is not None:
            raise RequestError(f"checkpoint={checkpoint}: the members of an ensemble name theirs, in {ENSEMBLE}")
        return _ensemble(folder, allow)
    run = RunFolder(folder)
    file = find_checkpoint(run, checkpoint or "best")
    member = _member(run, file, allow)
    is_best = run.best.is_file() and file.samefile(run.best)
    return _predictor((member,), _results(folder) if is_best else {}, f"{run.shown}, {file.stem}")


def _ensemble(folder: Path, allow: Allowed | None) -> Predictor:
    file = folder / ENSEMBLE
    try:
        written = msgspec.json.decode(file.read_bytes(), type=_Written)
    except (OSError, msgspec.DecodeError) as error:
        raise RequestError(f"{file} is not the description of an ensemble: {error}") from None
    members: list[Member] = []
    for entry in written.members:
        run = RunFolder((folder / entry.run).resolve())
        members.append(_member(run, find_checkpoint(run, entry.checkpoint), allow))
        if entry.sha256 not in {None, members[-1].identity}:
            raise RequestError(
                f"{run.shown} is not the model any more that {RunFolder(folder).shown} was made of\n"
                "  medimg ensemble with the same runs makes it anew"
            )
        found, expected = members[-1].classifier.classes, tuple(written.classes or members[0].classifier.classes)
        if found != expected:
            raise RequestError(f"{run.shown} knows the classes {list(found)}, and the ensemble {list(expected)}")
    if not members:
        raise RequestError(f"{file} names no members")
    return _predictor(tuple(members), _results(folder), f"{RunFolder(folder).shown}, {len(members)} models")


def _member(run: RunFolder, checkpoint: Path, allow: Allowed | None) -> Member:
    classifier = load_classifier(run, checkpoint, allow=allow)
    config = run.read_config()
    try:  # only what is needed: other parts may be of the user's own code
        window = msgspec.convert(config["data"].get("window"), WindowKey | None)
        augmentation = msgspec.convert(config.get("augment") or {}, AugmentConfig)
    except (KeyError, AttributeError, msgspec.ValidationError) as error:
        raise RequestError(f"{run.config_file} is not a configuration of medimg: {error}") from None
    trainer = config.get("trainer") or {}
    return Member(
        classifier=classifier,
        reading=Reading(classifier.preprocessing.without_normalisation(), window),
        augmentation=augmentation,
        seed=int(config.get("seed", 0)),
        precision=trainer.get("precision", "auto"),
        arithmetic=trainer.get("float32_matmul_precision", "highest"),
        identity=sha256(checkpoint),
    )


def _predictor(members: tuple[Member, ...], results: dict[str, Any], name: str) -> Predictor:
    first = members[0].classifier
    points = results.get("operating_points") or {}
    rule = points.get("chosen")
    threshold = ((points.get("points") or {}).get(rule) or {}).get("threshold")
    temperature = (results.get("temperature") or {}).get("value")
    read = [[member.identity, str(member.reading)] for member in members]
    return Predictor(
        members=members,
        classes=first.classes,
        positive_class=first.positive_class,
        threshold=threshold,
        rule=rule if threshold is not None else None,
        temperature=temperature,
        name=name,
        identity=_digest([read, list(first.classes), first.positive_class, threshold, temperature]),
    )


def _results(folder: Path) -> dict[str, Any]:
    file = RunFolder(folder).results_file
    try:
        results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    except ValueError as error:
        raise RequestError(f"{file} cannot be read: {error}") from None
    return results


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
