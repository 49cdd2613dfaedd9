"""`medimg evaluate run=RUN`: another checkpoint, split or data set, without repeating the configuration."""

from collections.abc import Sequence
from typing import Any

from medimg.commands.options import key_values, needed_run, overrides_only
from medimg.errors import RequestError, suggestion
from medimg.runs import RunFolder
from medimg.terminal import show

KEYS = ("run", "checkpoint", "split", "compare", "tta", "augment", "paths.runs")
OF_THE_RUN = ("data.", "evaluation.", "trainer.accelerator", "trainer.precision")
SPLITS = ("test", "val", "train")

USAGE = """medimg evaluate: scores a trained run, with intervals.

  medimg evaluate run=latest
  medimg evaluate run=runs/NAME/TIME-HASH split=val
  medimg evaluate run=RUN data.root=OTHER_IMAGES          another data set with the same classes
  medimg evaluate run=RUN checkpoint=all                  every epoch that was kept
  medimg evaluate run=RUN compare=OTHER_RUN               the difference of two runs on the same images

  run                a run folder, or latest: the run below paths.runs that started last
  checkpoint         best, last, all or a file (best)
  split              test, val or train (test)
  data.root          class folders, a CSV or an .npz; images without a split are all test images
  compare            another run, to be compared on the same split, patient by patient
  tta                test-time augmentation: so many varied views of each image beside the plain one (0)
  augment            how they are varied: a choice of augment= (that of the run)
  evaluation.*       resamples, operating_point and others, as in medimg train --help
  data.*             how the other images are read: data.patient_regex, data.class_aliases, data.batch_size, ...
  paths.runs         where latest looks (runs)

The best checkpoint on the run's own images is written into the run's own files; anything else goes below evaluations/
in the run folder. The former renews report.html. Thresholds and temperature come from the run's own validation split.
"""


def main(arguments: Sequence[str]) -> int:
    """Evaluates, writes the results and prints them."""
    overrides = overrides_only("evaluate", arguments)
    if overrides is None:
        print(USAGE)
        return 0
    values = key_values("evaluate", overrides, KEYS, OF_THE_RUN)
    folder = needed_run(values)
    split = str(values.pop("split", "test"))
    if split not in SPLITS:
        raise RequestError(f"split={split}: {suggestion(split, SPLITS)}\n  splits: {', '.join(SPLITS)}")
    return _evaluate(folder, split, values)


def _evaluate(folder: RunFolder, split: Any, values: dict[str, Any]) -> int:
    from medimg.commands.augmentation import test_time_augmentation
    from medimg.inference.compare import compare_runs
    from medimg.inference.evaluate import evaluate_run
    from medimg.inference.loading import load_classifier
    from medimg.reporting.epochs import write_epochs
    from medimg.reporting.scores import comparison_lines, score_lines
    from medimg.training.report import report_run

    checkpoint = str(values.pop("checkpoint", "best"))
    other = values.pop("compare", None)
    tta = test_time_augmentation(folder, values.pop("tta", 0), values.pop("augment", None))
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
        show("\n" + comparison_lines(compare_runs(one.folder, folder, str(other), split, one.samples[split])))
    return 0
