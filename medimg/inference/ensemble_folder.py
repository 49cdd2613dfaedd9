"""The folder of an ensemble: where it is, what it says of its members, and what of it still holds."""

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medimg.data.manifest import SPLITS, Split
from medimg.errors import RequestError
from medimg.files import write_json
from medimg.inference.held_out import Members, kind_of
from medimg.inference.members import MemberRun
from medimg.runs import RunFolder, provenance
from medimg.runs.folder import ENSEMBLE
from medimg.runs.leaderboard import WHOLE


def ensemble_folder(members: Members, runs: Path, name: str | None = None) -> RunFolder:
    """Where the ensemble of these members is, below the folder of all runs: the same for the same members."""
    home = runs.resolve()
    paths = [member.folder.path for member in members]
    below = [path.relative_to(home) if path.is_relative_to(home) else path for path in paths]
    mark = hashlib.sha256("\n".join(map(str, below)).encode()).hexdigest()[:8]
    return RunFolder(home / "ensembles" / f"{name or 'ensemble'}-{mark}")


def describe(folder: RunFolder, members: Members, missing_folds: Sequence[int]) -> None:
    """Writes ensemble.json. Results by other checkpoints of the members, that stand there from before, are removed."""
    if not scored_before(folder, members):
        folder.results_file.unlink(missing_ok=True)
        for name in ("predictions", "evaluations", "comparisons"):
            shutil.rmtree(folder.path / name, ignore_errors=True)
    content = {
        "kind": kind_of(members),
        "members": [_described(member, folder) for member in members],
        "classes": list(members[0].manifest.classes),
        "positive_class": members[0].manifest.positive_class,
        "region": ", ".join(sorted({str(member.run.config.get("data.region", WHOLE)) for member in members})),
        "missing_folds": list(missing_folds),
        "created": provenance.now(),
        "versions": provenance.versions(),
        "command": provenance.command(),
    }
    write_json(folder.path / ENSEMBLE, content)


def scored_before(folder: RunFolder, members: Members) -> list[Split]:
    """The splits of the members' own data that this folder has results of, by the same checkpoints.

    Raises:
        RequestError: ensemble.json cannot be read.
    """
    file = folder.path / ENSEMBLE
    if not file.is_file():
        return []
    try:
        digests = [member["sha256"] for member in json.loads(file.read_text(encoding="utf-8"))["members"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(f"{file} is not the description of an ensemble: {error!r}\n  remove it") from None
    if digests != [member.checkpoint_digest for member in members]:
        return []
    return [split for split in SPLITS if split in folder.results()]


def _described(member: MemberRun, folder: RunFolder) -> dict[str, Any]:
    return {
        "run": _path(member.folder.path, folder),
        "checkpoint": "best",
        "sha256": member.checkpoint_digest,
        "metric": member.run.metric,
        "value": member.value,
        "seed": member.run.config.get("seed"),
        "fold": member.fold,
    }


def _path(run: Path, folder: RunFolder) -> str:
    """Relative where the run and the ensemble are below one folder of runs, so that this can be moved whole."""
    runs = folder.path.parents[1]
    return os.path.relpath(run, folder.path) if run.is_relative_to(runs) else str(run)
