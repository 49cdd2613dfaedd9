"""`medimg evaluate run=RUN`: another checkpoint, split or data set, without repeating the configuration."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from medimg.commands.keys import Run, Runs, described, read_keys
from medimg.commands.options import overrides_only
from medimg.config.base import Node, NonNegativeInt
from medimg.runs import RunFolder, find_run
from medimg.terminal import show

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
in the run folder. The former renews report.html. Thresholds and temperature come from the run's own validation split.
"""


class _Request(Node, frozen=True, kw_only=True):
    """What can be given."""

    run: Run
    checkpoint: Annotated[str, Meta(description="best, last, all or a file (best)")] = "best"
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
    from medimg.inference.compare import compare_runs
    from medimg.inference.evaluate import evaluate_run
    from medimg.inference.finding import find_model
    from medimg.inference.loading import load_classifier
    from medimg.reporting.epochs import write_epochs
    from medimg.reporting.scores import comparison_lines, score_lines
    from medimg.training.report import report_run

    checkpoint, split = request.checkpoint, request.split
    other = None if request.compare is None else RunFolder(find_model(request.compare, request.paths.folder))
    tta = test_time_augmentation(folder, request.tta, request.augment)
    done = evaluate_run(folder, checkpoint=checkpoint, split=split, values=values, tta=tta)
    if checkpoint == "all":
        show(write_epochs(folder, done, split))
        return 0
    (one,) = done
    show(score_lines(one.results, split))
    show(f"\nWritten: {one.folder.results_file}, {one.folder.predictions(split)}")
    own = one.folder.path == folder.path
    if own and report_run(folder, load_classifier(folder, one.checkpoint.file), one.manifest, one.samples):
        show(f"Report: {folder.report_file}")
    if other is not None:
        show("\n" + comparison_lines(compare_runs(one.folder, folder, other, split, one.samples[split])))
    return 0
