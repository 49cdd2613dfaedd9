"""`medimg ensemble runs=[A,B,...]`: several trained runs as one, scored like a run."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medimg.commands.options import key_values, listed, overrides_only
from medimg.errors import RequestError, suggestion
from medimg.runs import RunFolder
from medimg.terminal import show

KEYS = ("runs", "sweep", "top", "split", "name", "paths.runs")
OF_THE_RUNS = ("data.", "evaluation.", "trainer.accelerator", "trainer.precision")
SPLITS = ("test", "val")

USAGE = """medimg ensemble: averages the probabilities of several runs, and scores the mean like a run.

  medimg ensemble runs=[RUN,RUN,RUN]
  medimg ensemble sweep=runs/STUDY top=5
  medimg ensemble sweep=runs/STUDY data.root=OTHER_IMAGES      another data set with the same classes

  runs               run folders: seeds, backbones or settings on the same split, or folds
  sweep              or a study: the best runs of it by the monitored validation metric; of folds the best of each
  top                how many of the study (5, or all where there are fewer)
  split              test or val (test)
  name               of the ensemble's folder (ensemble)
  data.root          class folders, a CSV or an .npz that no member was trained on
  evaluation.*       resamples, operating_point and others, as in medimg train --help (as of the first member)
  data.*             how the other images are read: data.patient_regex, data.class_aliases, data.batch_size, ...
  paths.runs         where ensembles go: below ensembles/ in it (runs)

Members that share the test split are averaged on it; thresholds and temperature come from the validation split that
they share. Members that hold out different parts of the same images, as folds do, are pooled: each image is scored by
those that did not see it. What a member was trained on is never scored by it. The members' predictions are used where
they are there, and nothing is written to the members' folders.

medimg predict run=ENSEMBLE_FOLDER input=IMAGES predicts with the ensemble.
"""


def main(arguments: Sequence[str]) -> int:
    """Finds the members, scores their mean, and prints it."""
    overrides = overrides_only("ensemble", arguments)
    if overrides is None:
        print(USAGE)
        return 0
    lists = [line for line in overrides if line.startswith("runs=[")]
    named = [path for line in lists for path in listed(line)]
    values = key_values("ensemble", [line for line in overrides if line not in lists], KEYS, OF_THE_RUNS)
    named += [str(values.pop("runs"))] if values.get("runs") else []
    split, name = _split(values), _name(values)
    runs = Path(str(values.pop("paths.runs", None) or "runs")).expanduser()
    return _ensemble(_folders(named, values, runs), split, name, runs, values)


def _folders(named: Sequence[str], values: dict[str, Any], runs: Path) -> list[RunFolder]:
    """The members' folders; `sweep` and `top` are taken out of the values."""
    from medimg.inference.members import best_of_sweep, named_runs

    sweep, top = values.pop("sweep", None), values.pop("top", None)
    if bool(named) == bool(sweep):
        raise RequestError("either runs=[RUN,RUN,...] or sweep=FOLDER says which runs are averaged")
    if named:
        if top is not None:
            raise RequestError(f"top={top} belongs to sweep=FOLDER; runs=[...] names the members one by one")
        return named_runs(named, runs)
    if top is not None and (not str(top).isdecimal() or int(top) < 1):
        raise RequestError(f"top={top}: how many runs of the sweep, such as top=5")
    folders, found = best_of_sweep(Path(str(sweep)).expanduser(), None if top is None else int(top))
    show(f"{found}:\n")
    return folders


def _split(values: dict[str, Any]) -> Any:
    split = str(values.pop("split", "test"))
    if split not in SPLITS:
        raise RequestError(f"split={split}: {suggestion(split, SPLITS)}\n  splits: {', '.join(SPLITS)}")
    return split


def _name(values: dict[str, Any]) -> str | None:
    name = values.pop("name", None)
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", str(name)):
        raise RequestError(f"name={name}: letters, digits, dots, - and _, as it names a folder")
    return None if name is None else str(name)


def _ensemble(folders: Sequence[RunFolder], split: Any, name: str | None, runs: Path, values: dict[str, Any]) -> int:
    from medimg.inference.ensemble_folder import ensemble_folder
    from medimg.inference.members import members_of

    members = members_of(folders)
    folder = ensemble_folder(members, runs, name)
    if values.get("data.root") is None:
        from medimg.inference.held_out import held_out

        held_out(members, split)  # what cannot be is said before torch loads

    from medimg.inference.ensemble import score_ensemble
    from medimg.inference.gains import gains
    from medimg.reporting.ensemble import ensemble_lines

    scored = score_ensemble(members, folder, split, values)
    show(ensemble_lines(scored, gains(scored)))
    show(f"\nWritten: {scored.place.results_file}, {scored.place.predictions(split)}")
    show(f"medimg predict run={folder.shown} input=IMAGES predicts with it")
    return 0
