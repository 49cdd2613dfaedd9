"""`medimg predict run=RUN input=PATH`: what a trained model says of new images."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from medimg.commands.augmentation import asked_augmentation
from medimg.commands.keys import Runs, described, read_keys
from medimg.commands.options import overrides_only
from medimg.config.base import Node, NonNegativeInt, PositiveInt
from medimg.errors import Interrupted, MedimgError
from medimg.runs import RunFolder
from medimg.runs.checkpoints import find_checkpoint, told_unfinished
from medimg.runs.folder import ENSEMBLE
from medimg.terminal import show

if TYPE_CHECKING:
    from medimg.inference.predictor import Predictor
    from medimg.inference.rows import Table, Tally

USAGE = """medimg predict: predicts for new images with a trained model. Not for clinical use.

  medimg predict run=latest input=IMAGES
  medimg predict run=runs/NAME/TIME-HASH input=scan.dcm output=scan.csv explain=true

{keys}

A row for each image, in the order of their names, or of the CSV: class, probabilities, and for two classes yes or no by
the run's operating point. An image that cannot be read has a row with the reason. The same command
goes on where it was, if it was ended.

Exit code: 0 all images were read; 1 some were not; 2 the request is wrong.
"""


class _Request(Node, frozen=True, kw_only=True):
    """What can be given."""

    run: Annotated[
        str,
        Meta(description="a run folder, an ensemble's folder, or latest: the run below paths.runs that started last"),
    ]
    input: Annotated[
        str,
        Meta(description="an image (also DICOM, NIfTI), a folder at any depth, a CSV with the column path, or an .npz"),
    ]
    output: Annotated[str, Meta(description="the table (predictions.csv); one that is there is not written over")] = (
        "predictions.csv"
    )
    checkpoint: Annotated[
        str | None, Meta(description="best, last, a kept epoch such as epoch_001, or a file (best)")
    ] = None
    explain: Annotated[
        bool,
        Meta(description="true: a picture of what speaks for the class beside each image, in OUTPUT_maps/ (false)"),
    ] = False
    tta: Annotated[
        NonNegativeInt, Meta(description="how many varied views of each image are averaged with the plain one (0)")
    ] = 0
    augment: Annotated[
        str | None, Meta(description="how views are varied: a choice of augment as in training (the run's own)")
    ] = None
    batch_size: Annotated[PositiveInt, Meta(description="images at a time (32)")] = 32
    num_workers: Annotated[NonNegativeInt, Meta(description="processes that read images (2)")] = 2
    accelerator: Annotated[
        Literal["auto", "cpu", "gpu", "cuda", "mps"], Meta(description="auto, cpu, gpu, cuda or mps (auto)")
    ] = "auto"
    paths: Runs = Runs()
    allow: Annotated[
        dict[str, list[str]] | None, Meta(description="targets of your own that the run was made with, by group")
    ] = None


def main(arguments: Sequence[str]) -> int:
    """Checks the request, loads the model, writes the table and says what came out."""
    overrides = overrides_only("predict", arguments)
    if overrides is None:
        print(USAGE.format(keys=described(_Request)))
        return 0
    request, _ = read_keys("predict", overrides, _Request)
    return _predict(request)


def _predict(request: _Request) -> int:
    from medimg.inference.finding import find_model
    from medimg.inference.inputs import list_inputs
    from medimg.inference.part_file import refuse_unusable
    from medimg.inference.rows import Table, maps_folder

    folder = find_model(request.run, request.paths.folder)
    output = Path(request.output).expanduser().absolute()
    inputs = list_inputs(request.input, without=maps_folder(output))
    refuse_unusable(output)
    augmentation = asked_augmentation(request.tta, request.augment)
    _look_at_run(RunFolder(folder), request.checkpoint)

    from medimg.inference.predict import Loading, write_predictions
    from medimg.inference.predictor import load_predictor
    from medimg.training.interrupts import interruptible

    predictor = load_predictor(folder, request.checkpoint, allow=request.allow)
    if request.tta:
        predictor = predictor.with_views(request.tta, augmentation)
    table = Table.of(predictor, maps=request.explain, columns=inputs.columns)
    show(_said_of(predictor, table))
    if inputs.left_out:
        counts = ", ".join(f"{count} {suffix or 'without ending'}" for suffix, count in sorted(inputs.left_out.items()))
        show(f"left out, as they are no images: {counts}", sys.stderr)
    loading = Loading(request.batch_size, request.num_workers, request.accelerator)
    try:
        with interruptible() as interrupts:
            tally = write_predictions(output, predictor, inputs, table, loading, interrupts)
    except Interrupted:
        show("the rows so far are kept: the same command goes on with them", sys.stderr)
        raise
    except (RuntimeError, OSError) as error:
        if told := _told(error):
            raise told from error
        raise
    _show_result(tally, table, Path(request.output))
    return 1 if tally.failed else 0


def _look_at_run(folder: RunFolder, checkpoint: str | None) -> None:
    """Says before torch loads that a checkpoint is not there, and that a run has not come to its end."""
    if (folder.path / ENSEMBLE).is_file():
        return
    find_checkpoint(folder, checkpoint or "best")
    if told := told_unfinished(folder):
        show(told, sys.stderr)


def _told(error: RuntimeError | OSError) -> MedimgError | None:
    """What is said of an error whose cure is known."""
    from torch import OutOfMemoryError

    from medimg.training.failures import dead_loader, is_full_disk

    goes_on = "the rows so far are kept, and the same command goes on with them"
    if isinstance(error, OutOfMemoryError):
        return MedimgError(
            f"the accelerator has too little memory: {goes_on}\n  with fewer images at a time: batch_size=8"
        )
    if dead := dead_loader(error):
        return MedimgError(f"{dead}\n  {goes_on}, without such processes: num_workers=0")
    if is_full_disk(error):
        return MedimgError(f"the disk is full: {goes_on}\n  make room first")
    return None


def _said_of(predictor: "Predictor", table: "Table") -> str:
    """Which model answers, and by which rule."""
    from medimg.reporting.scores import spoken

    lines = [f"{predictor.name}: {' or '.join(predictor.classes)}. Not for clinical use."]
    if table.positive_class is not None:
        rule = f"operating point: {spoken(predictor.rule)}" if predictor.rule else "this model has no operating point"
        lines.append(f"positive: {table.positive_class} with a probability of at least {table.threshold:.4g} ({rule})")
    if predictor.views:
        lines.append(f"each answer is the mean over the image and {predictor.views} varied views")
    return "\n".join(lines)


def _show_result(tally: "Tally", table: "Table", output: Path) -> None:
    """How many images of which class, where the table is, and what could not be read."""
    from medimg.inference.rows import maps_folder

    counts = [f"{tally.classes[name]} {name}" for name in table.classes]
    positive = f"; {tally.positive} positive" if table.positive_class is not None else ""
    show(f"predictions: {tally.classes.total()} ({', '.join(counts)}{positive})")
    if tally.kept:
        show(f"{tally.kept} rows of before were kept")
    show(f"Written: {output}{f', {maps_folder(output)}' if table.maps else ''}")
    if tally.failed:
        shown = "".join(f"\n  {path}: {reason}" for path, reason in tally.first_failed)
        more = f"\n  and {tally.failed - len(tally.first_failed)} more: see the column error" * (
            tally.failed > len(tally.first_failed)
        )
        total = tally.failed + tally.classes.total()
        show(f"medimg: no prediction for {tally.failed} of {total}:{shown}{more}", sys.stderr)
