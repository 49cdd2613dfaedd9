"""An ensemble of runs: the mean of their probabilities, evaluated like a run, in a folder that predict understands."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medimg.config.evaluation import EvaluationConfig
from medimg.data.manifest import Split, write_manifest_csv
from medimg.evaluation.fitting import Fitted, fit
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.sample import Sample
from medimg.inference.averaging import mean_of, pooled
from medimg.inference.ensemble_folder import describe, scored_before
from medimg.inference.evaluate import checkpoint_of
from medimg.inference.held_out import HeldOut, Members, held_out, kind_of, manifest_of, share_validation
from medimg.inference.images import Images, images_of, refuse_missing_split, refuse_seen, run_config
from medimg.inference.loading import load_classifier
from medimg.inference.members import MemberRun
from medimg.inference.tables import known_table, predicted_table
from medimg.runs import RunFolder
from medimg.runs.lock import locked
from medimg.training.evaluate import ResultsWriter
from medimg.training.trainer import predicting_trainer

log = logging.getLogger(__name__)

Tables = Mapping[Path, Predictions]  # by the member's folder


@dataclass(frozen=True)
class Scored:
    """An ensemble as it was scored on a split.

    Attributes:
        members: of the ensemble.
        folder: of the ensemble.
        place: where the scores are: the same, or a folder below its `evaluations/`.
        split: that was scored.
        results: the content of results.json there.
        sample: what the ensemble said, and what is known of the images.
        tables: what each member said of the images that it was asked about, by the member's folder.
        missing_folds: the numbers of folds without members, whose images were not scored.
    """

    members: Members
    folder: RunFolder
    place: RunFolder
    split: Split
    results: Mapping[str, Any]
    sample: Sample
    tables: Tables
    missing_folds: tuple[int, ...] = ()


def score_ensemble(
    members: Members, folder: RunFolder, split: Split, values: Mapping[str, Any] | None = None
) -> Scored:
    """Averages the members' probabilities on a split, and writes predictions and results.

    On the members' own data, each image is scored by members that hold it out. Members that hold out other parts of it
    are folds: their parts are pooled. Results on other images (`data.root`) go below `evaluations/`. Thresholds and
    temperature are fitted on the validation images that all members share. Nothing is written to the members' folders.

    Args:
        members: of the ensemble.
        folder: of the ensemble; see `ensemble_folder`.
        split: to score.
        values: values for keys of the members' configuration; `data.root` for other images.

    Raises:
        RequestError: a member was trained on some of the images, or knows none of this split.
    """
    values = values or {}
    others = _other_images(members, values)
    return (
        _score_own(members, folder, split, values) if others is None else _score(members, folder, split, values, others)
    )


def _score_own(members: Members, folder: RunFolder, split: Split, values: Mapping[str, Any]) -> Scored:
    parts = _own_parts(members, folder, [split])
    tables = {part.split: _own_tables(part, values) for part in parts}
    writer = _write_own(members, folder, parts, tables, values)
    (asked,) = (part for part in parts if part.split == split)
    sample = writer.samples[split]
    return Scored(members, folder, folder, split, writer.results, sample, tables[split], asked.missing_folds)


def _score(
    members: Members, folder: RunFolder, split: Split, values: Mapping[str, Any], others: Sequence[Images]
) -> Scored:
    """On other images, as each member reads them."""
    asked = list(zip(members, others, strict=True))
    for member, images in asked:
        refuse_missing_split(images.manifest, split, str(values["data.root"]))
        refuse_seen(images, split, member.folder)
    of_the_members = {key: value for key, value in values.items() if not key.startswith("data.")}
    parts = _own_parts(members, folder, [])
    own = {part.split: _own_tables(part, of_the_members) for part in parts}
    tables = {member.folder.path: _predicted(member, images, split) for member, images in asked}
    mean = mean_of(list(tables.values()))
    fitted = _write_own(members, folder, parts, own, of_the_members).fitted
    named = next(images for images in others if images.name)
    place = RunFolder(folder.path / "evaluations" / str(named.name))
    with locked(folder.path):
        writer = ResultsWriter(
            place, named.manifest, _settings(members, values), epoch=None, fitted=fitted, other_images=True
        )
        writer.add(split, mean)
        writer.write()
    return Scored(members, folder, place, split, writer.results, writer.samples[split], tables)


def _other_images(members: Members, values: Mapping[str, Any]) -> list[Images] | None:
    """Those of `data.root`, as each member reads them; None where they are the members' own."""
    if values.get("data.root") is None:
        return None
    images = [images_of(member.folder, values) for member in members]
    return images if any(one.name for one in images) else None


def _own_parts(members: Members, folder: RunFolder, splits: Sequence[Split]) -> list[HeldOut]:
    """These splits of the members' data, what was scored before, and what thresholds are fitted on: that goes first."""
    wanted = {*splits, *scored_before(folder, members)} | ({"val"} if _can_fit(members) else set())
    order: tuple[Split, ...] = ("val", "test")
    return [held_out(members, split) for split in order if split in wanted]


def _can_fit(members: Members) -> bool:
    return kind_of(members) == "mean" and share_validation(members)


def _own_tables(part: HeldOut, values: Mapping[str, Any]) -> dict[Path, Predictions]:
    """What each member said of the images that it holds out, or says now."""
    return {member.folder.path: _own_table(member, part.split, values) for group in part.groups for member in group}


def _own_table(member: MemberRun, split: Split, values: Mapping[str, Any]) -> Predictions:
    checkpoint = checkpoint_of(member.folder, member.folder.best)
    known = known_table(member.folder, checkpoint.epoch, checkpoint.digest, member.manifest, split)
    return _predicted(member, images_of(member.folder, values), split) if known is None else known


def _predicted(member: MemberRun, images: Images, split: Split) -> Predictions:
    log.info("%s predicts %s", member.folder.shown, split)
    trainer = predicting_trainer(images.config.trainer, member.folder.path)
    return predicted_table(trainer, load_classifier(member.folder), images, split)


def _write_own(
    members: Members,
    folder: RunFolder,
    parts: Sequence[HeldOut],
    tables: Mapping[Split, Tables],
    values: Mapping[str, Any],
) -> ResultsWriter:
    """The ensemble's description, and its scores on its members' own data."""
    combined = {
        part.split: pooled(
            [mean_of([tables[part.split][member.folder.path] for member in group]) for group in part.groups]
        )
        for part in parts
    }
    settings, manifest = _settings(members, values), manifest_of(members, parts)
    fitted = None if _can_fit(members) else _not_fitted(members, settings)
    with locked(folder.path):
        describe(folder, members, [fold for part in parts for fold in part.missing_folds])
        if parts:
            write_manifest_csv(manifest, folder.manifest_file)
        writer = ResultsWriter(folder, manifest, settings, epoch=None, fitted=fitted)
        for split, table in combined.items():
            writer.add(split, table)
        writer.write()
    return writer


def _settings(members: Members, values: Mapping[str, Any]) -> EvaluationConfig:
    """How to evaluate: as given, and otherwise as the first member was."""
    given = {key: value for key, value in values.items() if key.startswith("evaluation.")}
    return run_config(members[0].folder, given).evaluation


def _not_fitted(members: Members, settings: EvaluationConfig) -> Fitted:
    folds = kind_of(members) == "out_of_fold"
    reason = "each fold has a validation split of its own" if folds else "the members share no validation images"
    return replace(fit(None, settings, members[0].manifest.positive_class), reason=reason)
