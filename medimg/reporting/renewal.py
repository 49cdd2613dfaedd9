"""Brings the leaderboard and the page of a study up to date after one of its runs has changed."""

import csv
import logging
from collections.abc import Iterable
from pathlib import Path

from medimg.reporting.leaderboard import FOLDERS, TABLE, write_leaderboard
from medimg.runs import RunFolder
from medimg.runs.records import find_runs

log = logging.getLogger(__name__)

_MOST = 200  # runs that are read and ranked in a few seconds


def renew_studies(runs: Iterable[RunFolder]) -> None:
    """Writes the leaderboards of the sweeps anew that these runs are jobs of, where there are such already.

    The results of the runs are written, so whatever goes wrong here is told and costs nothing else.
    """
    for study in dict.fromkeys(run.path.parent for run in runs if run.info().get("in_sweep")):
        if (study / TABLE).is_file():
            _renew(study)


def _renew(study: Path) -> None:
    shown = RunFolder(study).shown
    command = f"medimg leaderboard dir={shown}"
    try:
        folders = {folder.path: folder for folder in [*_listed(study), *find_runs([study])]}
        if len(folders) > _MOST:
            log.warning("%s has %d runs; %s brings its leaderboard and page up to date", shown, len(folders), command)
            return
        write_leaderboard(list(folders.values()), study)
    except Exception as error:  # of whatever kind: a run that another process is writing, a full disk
        log.warning("%s: its leaderboard is not up to date: %s: %s", shown, type(error).__name__, error)
        log.warning("%s tries it again", command)
        return
    log.info("leaderboard and report.html of %s are up to date", shown)


def _listed(study: Path) -> list[RunFolder]:
    """The runs that the leaderboard has so far: jobs that were never started have no folder to be found by."""
    with (study / TABLE).open(encoding="utf-8", newline="") as stream:
        places = [place for row in csv.DictReader(stream) for place in (row.get(FOLDERS) or "").split(";") if place]
    return [RunFolder((study / place).resolve()) for place in places]
