"""`medimg evaluate run=RUN`: another checkpoint, split or data set, without repeating the configuration."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from medimg.commands.keys import Run, Runs, described, read_keys
from medimg.commands.options import overrides_only
from medimg.config.base import Node, NonNegativeInt
from medimg.errors import RequestError
from medimg.runs import RunFolder, find_run
from medimg.runs.checkpoints import told_unfinished
from medimg.terminal import show

if TYPE_CHECKING:
    from medimg.evaluation.predictions import Predictions
    from medimg.inference.evaluate import Evaluated
    from medimg.inference.images import Images
    from medimg.models.tta import TestTimeAugmentation

OF_THE_RUN = ("data.", "evaluation.", "trainer.accelerator", "trainer.precision")

USAGE = """medimg evaluate: scores a trained run, with intervals.

  medimg evaluate run=latest
  medimg evaluate run=runs/NAME/TIME-HASH split=val
  medimg evaluate run=RUN data.root=OTHER_IMAGES          another data set with the same classes
  medimg evaluate run=RUN checkpoint=all                  every epoch that was kept
  medimg evaluate run=RUN compare=OTHER_RUN               the difference of two runs on the same images

{keys}
  data.root          class folders, a CSV or an .npz; images without a split are all test images
  data.*             how the other images are read: data.patient_regex, data.class_aliases, data.batch_size, ...
  evaluation.*       resamples, operating_point and others, as in medimg train --help

The best checkpoint on the run's own images is written into the run's own files; anything else goes below evaluations/
in the run folder. The former renews report.html, and of a sweep's job the leaderboard and page of the sweep. Thresholds
and temperature come from the run's own validation split.
"""


class _Request(Node, frozen=True, kw_only=True):
    """What can be given."""

    run: Run
    checkpoint: Annotated[
        str, Meta(description="best, last, all, a kept epoch such as epoch_001, or a file (best)")
    ] = "best"
    split: Annotated[Literal["test", "val", "train"], Meta(description="test, val or train (test)")] = "test"
    compare: Annotated[
        str | None, Meta(description="another run, to be compared on the same split, patient by patient")
    ] = None
    tta: Annotated[
        NonNegativeInt,
        Meta(description="test-time augmentation: so many varied views of each image beside the plain one (0)"),
    ] = 0
    augment: Annotated[str | None, Meta(description="how they are varied: a choice of augment= (that of the run)")] = (
        None
    )
    paths: Runs = Runs()


def main(arguments: Sequence[str]) -> int:
    """Evaluates, writes the results and prints them."""
    overrides = overrides_only("evaluate", arguments)
    if overrides is None:
        print(USAGE.format(keys=described(_Request)))
        return 0
    request, values = read_keys("evaluate", overrides, _Request, OF_THE_RUN)
    return _evaluate(find_run(request.run, request.paths.folder), request, values)


def _evaluate(folder: RunFolder, request: _Request, values: dict[str, Any]) -> int:
    from medimg.commands.augmentation import test_time_augmentation
    from medimg.inference.finding import find_model
    from medimg.inference.images import asked_images
    from medimg.runs.checkpoints import find_checkpoints

    # whatever can be wrong is found before torch loads
    split, every = request.split, request.checkpoint == "all"
    files = find_checkpoints(folder, request.checkpoint)
    if every and request.compare is not None:
        raise RequestError("compare= takes one checkpoint, and checkpoint=all means several")
    other = None if request.compare is None else RunFolder(find_model(request.compare, request.paths.folder))
    images = asked_images(folder, split, values)
    tta = test_time_augmentation(folder, request.tta, request.augment)
    theirs = None if other is None else _theirs(other, folder, files[0], images, split, tta)
    if told := told_unfinished(folder):
        show(told, sys.stderr)

    from medimg.inference.evaluate import evaluate_on
    from medimg.reporting.epochs import write_epochs

    done = evaluate_on(images, folder, files, split, tta=tta)
    if every:
        show(write_epochs(folder, done, split))
        return 0
    _show(done[0], folder, split)
    if theirs is not None and other is not None:
        from medimg.inference.compare import compare_with
        from medimg.reporting.scores import comparison_lines

        show("\n" + comparison_lines(compare_with(theirs, done[0].folder, other, split, done[0].samples[split])))
    return 0


def _theirs(
    other: RunFolder,
    folder: RunFolder,
    file: Path,
    images: "Images",
    split: Literal["test", "val", "train"],
    tta: "TestTimeAugmentation | None",
) -> "Predictions":
    """What the other run has said of these images."""
    from medimg.inference.other_table import other_table
    from medimg.inference.places import checkpoint_name, place_of

    place = place_of(folder, checkpoint_name(folder, file), images.name, None if tta is None else tta.name)
    return other_table(place, folder, other, split, images.manifest)


def _show(one: "Evaluated", folder: RunFolder, split: str) -> None:
    """The scores, and where they are; those of the run's own page renew it."""
    from medimg.inference.loading import load_classifier
    from medimg.reporting.renewal import renew_studies
    from medimg.reporting.scores import score_lines
    from medimg.training.report import report_run

    show(score_lines(one.results, split))
    show(f"\nWritten: {one.folder.results_file}, {one.folder.predictions(split)}")
    if one.folder.path != folder.path:
        return
    if report_run(folder, load_classifier(folder, one.checkpoint.file), one.manifest, one.samples):
        show(f"Report: {folder.report_file}")
    renew_studies([folder])
