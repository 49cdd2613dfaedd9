"""`medimg ensemble runs=[A,B,...]`: several trained runs as one, scored like a run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from medimg.commands.keys import Runs, described, read_keys
from medimg.commands.options import overrides_only
from medimg.config.base import Node, PositiveInt
from medimg.errors import RequestError
from medimg.runs import RunFolder
from medimg.terminal import show

OF_THE_RUNS = ("data.", "evaluation.", "trainer.accelerator", "trainer.precision")
FolderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*$")]

USAGE = """medimg ensemble: averages the probabilities of several runs, and scores the mean like a run.

  medimg ensemble runs=[RUN,RUN,RUN]
  medimg ensemble sweep=runs/STUDY top=5
  medimg ensemble sweep=runs/STUDY data.root=OTHER_IMAGES      another data set with the same classes

{keys}
  data.root          class folders, a CSV or an .npz that no member was trained on
  data.*             how the other images are read: data.patient_regex, data.class_aliases, data.batch_size, ...
  evaluation.*       resamples, operating_point and others, as in medimg train --help (as of the first member)

Members that share the test split are averaged on it; thresholds and temperature come from the validation split that
they share. Members that hold out different parts of the same images, as folds do, are pooled: each image is scored by
those that did not see it. What a member was trained on is never scored by it. The members' predictions are used where
they are there, and nothing is written to the members' folders.

medimg predict run=ENSEMBLE_FOLDER input=IMAGES predicts with the ensemble.
"""


class _Runs(Runs, frozen=True, kw_only=True):
    """The key paths.runs."""

    runs: Annotated[str, Meta(description="where ensembles go: below ensembles/ in it (runs)")] = "runs"


class _Request(Node, frozen=True, kw_only=True):
    """What can be given."""

    runs: Annotated[
        str | list[str] | None,
        Meta(description="run folders: seeds, backbones or settings on the same split, or folds"),
    ] = None
    sweep: Annotated[
        str | None,
        Meta(
            description="or a study: the best runs of it by the monitored validation metric; of folds the best of each"
        ),
    ] = None
    top: Annotated[PositiveInt | None, Meta(description="how many of the study (5, or all where there are fewer)")] = (
        None
    )
    split: Annotated[Literal["test", "val"], Meta(description="test or val (test)")] = "test"
    name: Annotated[
        FolderName | None, Meta(description="of the ensemble's folder: letters, digits, dots, - and _ (ensemble)")
    ] = None
    paths: _Runs = _Runs()


def main(arguments: Sequence[str]) -> int:
    """Finds the members, scores their mean, and prints it."""
    overrides = overrides_only("ensemble", arguments)
    if overrides is None:
        print(USAGE.format(keys=described(_Request)))
        return 0
    request, values = read_keys("ensemble", overrides, _Request, OF_THE_RUNS)
    return _ensemble(_folders(request), request, values)


def _folders(request: _Request) -> list[RunFolder]:
    from medimg.inference.members import best_of_sweep, named_runs

    if request.runs is not None and request.sweep is None:
        if request.top is not None:
            raise RequestError(f"top={request.top} belongs to sweep=FOLDER; runs=[...] names the members one by one")
        named = [request.runs] if isinstance(request.runs, str) else request.runs
        return named_runs(named, request.paths.folder)
    if request.sweep is None or request.runs is not None:
        raise RequestError("either runs=[RUN,RUN,...] or sweep=FOLDER says which runs are averaged")
    folders, found = best_of_sweep(Path(request.sweep).expanduser(), request.top)
    show(f"{found}:\n")
    return folders


def _ensemble(folders: Sequence[RunFolder], request: _Request, values: dict[str, Any]) -> int:
    from medimg.inference.ensemble_folder import ensemble_folder
    from medimg.inference.members import members_of

    members = members_of(folders)
    folder = ensemble_folder(members, request.paths.folder, request.name)
    split = request.split
    if values.get("data.root") is None:
        from medimg.inference.held_out import held_out

        held_out(members, split)  # what cannot be is said before torch loads

    from medimg.inference.ensemble import score_ensemble
    from medimg.inference.ensemble_report import report_ensemble
    from medimg.inference.gains import gains
    from medimg.reporting.ensemble import ensemble_lines
    from medimg.reporting.renewal import renew_studies

    scored = score_ensemble(members, folder, split, values)
    show(ensemble_lines(scored, gains(scored)))
    show(f"\nWritten: {scored.place.results_file}, {scored.place.predictions(split)}")
    if scored.place == folder and report_ensemble(scored):
        show(f"Report: {folder.report_file}")
    if scored.place == folder:
        renew_studies(member.folder for member in members)
    show(f"medimg predict run={folder.shown} input=IMAGES predicts with it")
    return 0
