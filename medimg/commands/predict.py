"""`medimg predict run=RUN input=PATH`: what a trained model says of new images."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from medimg.commands.options import overrides_only
from medimg.config.augment import AugmentConfig
from medimg.config.base import Node, NonNegativeInt, PositiveInt
from medimg.errors import Interrupted, MedimgError, RequestError, suggestion
from medimg.terminal import show

if TYPE_CHECKING:
    from medimg.inference.predictor import Predictor
    from medimg.inference.rows import Table, Tally

USAGE = """medimg predict: predicts for new images with a trained model. Not for clinical use.

  medimg predict run=latest input=IMAGES
  medimg predict run=runs/NAME/TIME-HASH input=scan.dcm output=scan.csv explain=true

  run                a run folder, an ensemble's folder, or latest: the run below paths.runs that started last
  input              an image (also DICOM, NIfTI), a folder at any depth, a CSV with the column path, or an .npz
  output             the table (predictions.csv); one that is there is not written over
  checkpoint         best, last or a file (best)
  explain            true: a picture of what speaks for the class beside each image, in OUTPUT_maps/ (false)
  tta                how many varied views of each image are averaged with the plain one (0)
  augment            how views are varied: a choice of augment as in training (the run's own)
  batch_size         images at a time (32)
  num_workers        processes that read images (2)
  accelerator        auto, cpu, gpu, cuda or mps (auto)
  paths.runs         where latest looks (runs)
  allow              targets of your own that the run was made with, by group

A row for each image, in the order of their names, or of the CSV: class, probabilities, and for two classes yes or no by
the run's operating point. An image that cannot be read has a row with the reason. The same command
goes on where it was, if it was ended.

Exit code: 0 all images were read; 1 some were not; 2 the request is wrong.
"""
_TEXT = ("run", "input", "output", "checkpoint", "augment", "paths.runs")


class _Options(Node, frozen=True, kw_only=True, rename={"runs": "paths.runs"}):
    """What can be given."""

    run: str
    input: str
    output: str = "predictions.csv"
    checkpoint: str | None = None
    explain: bool = False
    tta: NonNegativeInt = 0
    augment: str | None = None
    batch_size: PositiveInt = 32
    num_workers: NonNegativeInt = 2
    accelerator: Annotated[Literal["auto", "cpu", "gpu", "cuda", "mps"], Meta(description="where to compute")] = "auto"
    runs: str = "runs"
    allow: dict[str, list[str]] | None = None


def main(arguments: Sequence[str]) -> int:
    """Checks the request, loads the model, writes the table and says what came out."""
    overrides = overrides_only("predict", arguments)
    if overrides is None:
        print(USAGE)
        return 0
    return _predict(_options(overrides))


def _options(overrides: Sequence[str]) -> _Options:
    from medimg.config.compose import parse
    from medimg.config.quoting import quoted

    known = _Options.__struct_encode_fields__
    given: dict[str, Any] = {}
    for override in parse(quoted(overrides, text=_TEXT)):
        key = override.key_or_group
        if key not in known:
            raise RequestError(f"predict has no key {key!r}. {suggestion(key, known)}\n  keys: {', '.join(known)}")
        if override.is_sweep_override():
            raise RequestError(f"{override.input_line}: predict takes one value\n  a value with commas is quoted twice")
        given[key] = override.value()
    for key, means in (("run", "a run folder, or latest"), ("input", "an image, a folder, a CSV or an .npz")):
        if given.get(key) in {None, ""}:
            raise RequestError(f"{key}=... is needed: {means}")
    if given.get("augment") is not None and not given.get("tta"):
        raise RequestError(f"augment={given['augment']} says how views are varied, and there are none: give tta=8, say")
    return _converted(given)


def _converted(given: dict[str, Any]) -> _Options:
    from medimg.config.kinds import fields
    from medimg.config.wording import explain

    try:
        return msgspec.convert(given, _Options)
    except msgspec.ValidationError as error:
        said = explain(str(error), given)
        words = {field.key: field.literals for field in fields(_Options)}.get(said.partition("=")[0], [])
        allowed = f"\n  allowed: {', '.join(words)}" if words else "\n  medimg predict --help lists what can be given"
        raise RequestError(said + allowed) from None


def _predict(options: _Options) -> int:
    from medimg.inference.finding import find_model
    from medimg.inference.inputs import list_inputs
    from medimg.inference.part_file import refuse_existing
    from medimg.inference.rows import Table, maps_folder

    folder = find_model(options.run, Path(options.runs).expanduser())
    output = Path(options.output).expanduser().absolute()
    refuse_existing(output)
    augmentation = _augmentation(options.augment)
    inputs = list_inputs(options.input, without=maps_folder(output))

    from medimg.inference.predict import Loading, write_predictions
    from medimg.inference.predictor import load_predictor
    from medimg.training.interrupts import interruptible

    predictor = load_predictor(folder, options.checkpoint, allow=options.allow)
    if options.tta:
        predictor = predictor.with_views(options.tta, augmentation)
    table = Table.of(predictor, maps=options.explain)
    show(_said_of(predictor, table))
    if inputs.left_out:
        counts = ", ".join(f"{count} {suffix or 'without ending'}" for suffix, count in sorted(inputs.left_out.items()))
        show(f"left out, as they are no images: {counts}", sys.stderr)
    loading = Loading(options.batch_size, options.num_workers, options.accelerator)
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
    _show_result(tally, table, Path(options.output))
    return 1 if tally.failed else 0


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


def _augmentation(name: str | None) -> AugmentConfig | None:
    """The choice of the group augment with this name; one of the user's own, too."""
    if name is None:
        return None
    from medimg.config.compose import load

    return load([f"augment={name}"]).augment


def _said_of(predictor: "Predictor", table: "Table") -> str:
    """Which model answers, and by which rule."""
    lines = [f"{predictor.name}: {' or '.join(predictor.classes)}. Not for clinical use."]
    if table.positive_class is not None:
        rule = f"operating point {predictor.rule!r}" if predictor.rule else "there is no operating point for this model"
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
    show(f"Written: {output}{f', {maps_folder(output)}' if table.maps else ''}")
    if tally.failed:
        shown = "".join(f"\n  {path}: {reason}" for path, reason in tally.first_failed)
        more = f"\n  and {tally.failed - len(tally.first_failed)} more: see the column error" * (
            tally.failed > len(tally.first_failed)
        )
        total = tally.failed + tally.classes.total()
        show(f"medimg: no prediction for {tally.failed} of {total}:{shown}{more}", sys.stderr)
