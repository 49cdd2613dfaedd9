"""The leaderboard as people and scripts read it: for the terminal, as CSV, as Markdown and as a picture."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from medimg.data.groups import CAVEAT
from medimg.files import write_bytes, write_table, write_text
from medimg.reporting.tables import amount, duration, markdown_table, terminal_table
from medimg.runs.columns import Column
from medimg.runs.folder import RunFolder
from medimg.runs.leaderboard import Board, Entry, Section, Spread, leaderboard
from medimg.runs.records import Run

log = logging.getLogger(__name__)

TABLE = "leaderboard.csv"
FOLDERS = "folders"  # the column of the runs of a row, separated by semicolons
_NOTHING = ("", "null", "none")
_REGIONS = {
    "border": "the model is shown the outer eighth of each side alone. A score far above guessing means that the "
    "border gives the classes away.",
    "center": "the model is shown the images without the outer eighth of each side.",
}
TIES = "Equal scores are ranked by validation loss, the lower first."
Table = Callable[[Sequence[str], Sequence[Sequence[str]]], str]


def write_leaderboard(runs: Sequence[RunFolder] | Sequence[Path], target: Path) -> str:
    """Writes leaderboard.csv, .md and .png and report.html into a folder; returns the text for the terminal."""
    board = leaderboard([run if isinstance(run, RunFolder) else RunFolder(run) for run in runs])
    write_csv(board, target / TABLE)
    picture = target / "leaderboard.png"
    if board.sections:
        from medimg.reporting.ranking_figure import ranking_figure

        write_bytes(picture, ranking_figure(board))
    else:
        picture.unlink(missing_ok=True)  # an old one would show a ranking that is none
    write_text(target / "leaderboard.md", markdown(board, picture.name if board.sections else None))
    _write_page(board, target)
    return terminal(board)


def _write_page(board: Board, target: Path) -> None:
    """The tables are written, and whatever goes wrong with the page costs nothing else."""
    from medimg.reporting.report.study import write_study

    try:
        write_study(board, target, target.resolve().name)
    except Exception as error:
        log.warning("%s: report.html could not be written: %s: %s", target, type(error).__name__, error)


def terminal(board: Board) -> str:
    """The tables and what has to be said of them."""
    return "\n\n".join(_parts(board, terminal_table))


def markdown(board: Board, picture: str | None) -> str:
    """The same as a page."""
    parts = ["# Leaderboard", *_parts(board, markdown_table, heading="## ", note="- ")]
    if picture:
        parts.append(f"![The ranking, with each run and the spread]({picture})")
    return "\n\n".join(parts) + "\n"


def write_csv(board: Board, file: Path) -> None:
    """A row for each setting, then one for each run that is not ranked; numbers in full precision.

    Columns that differ are headed by their dotted key, or by the name of a group that was exchanged as a whole.
    """
    header = ["rank", "section", "status", *(column.key for column in board.columns), *_NUMBERS]
    rows: list[list[object]] = []
    for number, section in enumerate(board.sections, start=1):
        for rank, entry in enumerate(section.entries, start=1):
            cells = [column.cell(entry.runs[0]) for column in board.columns]
            rows.append([rank, number, entry.status, *cells, *_numbers(entry, file.parent)])
    for run in board.unranked:
        numbers = _numbers(None, file.parent, run)
        rows.append([None, None, run.status, *(column.cell(run) for column in board.columns), *numbers])
    write_table(file, header, rows)


_NUMBERS = (
    *("runs", "metric", "mean", "std", "val_loss", "test_metric", "test_mean", "test_std", "best_so_far", "seconds"),
    *("parameters", "trained_parameters", "split_unit", "data_fingerprint", "synthetic", FOLDERS),
)


def _numbers(entry: Entry | None, home: Path, lonely: Run | None = None) -> list[object]:
    """The cells below `_NUMBERS`: of a setting, or of a run that is not ranked and has no score."""
    runs = entry.runs if entry else (lonely,) if lonely else ()
    first = runs[0]
    score, loss, test = (entry.score, entry.loss, entry.test) if entry else (None, None, None)
    seconds = entry.seconds.mean if entry and entry.seconds else first.seconds
    fingerprint = (first.data if first.config.get("data.folds") is None else first.images or first.data) or ""
    return [
        len(runs),
        first.metric,
        *((score.mean, score.std) if score else (None, None)),
        loss.mean if loss else None,
        *((entry.test_metric, test.mean, test.std) if entry and test else (None, None, None)),
        None if entry else first.so_far,
        seconds,
        first.parameters,
        first.trained,
        first.split_unit,
        fingerprint[:12],
        str(first.synthetic).lower(),
        ";".join(relative(home, run.folder.path) for run in runs),
    ]


def _parts(board: Board, table: Table, heading: str = "", note: str = "") -> list[str]:
    parts = []
    if reasons := board.apart():
        parts.append(f"Not ranked together, as these runs differ in {', '.join(reasons)}:")
    for number, section in enumerate(board.sections, start=1):
        prefix = f"{number}. " if len(board.sections) > 1 else ""
        notes = "\n".join(f"{note}{line}" for line in _notes(board, section))
        parts += [f"{heading}{prefix}{section.title}: ranked by {section.by}", _ranking(board, section, table), notes]
    if board.unranked:
        parts += [f"{heading}Not ranked", _unranked(board, table)]
    parts += _repetitions(board)
    parts += [f"{run.folder.shown} is unreadable: {run.problem}" for run in board.unranked if run.problem]
    return parts or ["No run has a result."]


def _ranking(board: Board, section: Section, table: Table) -> str:
    several = any(len(entry.runs) > 1 for entry in section.entries)
    columns = section.split_columns(board.columns)[0]
    tests = sorted({entry.test_metric for entry in section.entries if entry.test})
    header = ["rank", *(column.title for column in columns), section.first.metric]
    header += ["val/loss"] * section.ties
    header += [*(f"test/{name}" for name in tests), "time", "parameters", "status"]
    rows = []
    for rank, entry in enumerate(section.entries, start=1):
        run = entry.runs[0]
        scores = [_spread(entry.score, several)]
        scores += [f"{entry.loss.mean:.4g}" if entry.loss else ""] * section.ties
        scores += [_spread(entry.test if entry.test_metric == name else None, several) for name in tests]
        time = duration(entry.seconds.mean) if entry.seconds else ""
        size = amount(run.parameters) if run.parameters is not None else ""
        rows.append([str(rank), *(column.cell(run) for column in columns), *scores, time, size, entry.status])
    return table(header, rows)


def _notes(board: Board, section: Section) -> list[str]:
    """What a reader has to know of the table above."""
    best = section.first
    words = ", ".join(f"{column.title} {column.cell(best)}" for column in shared_columns(board, section))
    notes = [f"{'In all of them' if len(section.entries) > 1 else 'Setting'}: {words}"] if words else []
    notes.append(f"Best run of rank 1: {best.folder.shown} ({best.value:.4f})")
    if any(len(entry.runs) > 1 for entry in section.entries):
        notes.append("Mean ± standard deviation of the runs that differ only in seed or fold (their number).")
    if section.ties:
        notes.append(TIES)
    return notes + cautions(section)


def shared_columns(board: Board, section: Section) -> list[Column]:
    """Those that are worth a word and the same for all settings of a section."""
    return [one for one in section.split_columns(board.columns)[1] if one.cell(section.first) not in _NOTHING]


def cautions(section: Section) -> list[str]:
    """Why the scores of a section may not be what they seem."""
    best, found = section.first, [control(region) for region in section.controls]
    folds = {frozenset(run.config.get("data.fold") for run in entry.runs) for entry in section.entries}
    if len(folds) > 1:
        found.append("The settings were not run on the same folds: some of the difference between them is the folds'.")
    if best.split_unit == "image":
        found.append("Split by image: images of one patient can be on both sides, so these scores may be too good.")
    if best.split_unit == "group":
        found.append(f"Split by groups that stand in for patients: {CAVEAT}.")
    if best.synthetic:
        found.append("Synthetic images: these scores say nothing about real ones.")
    return found


def control(region: str) -> str:
    """What a run that was shown a part of each image is there for."""
    return f"A control, data.region={region}: {_REGIONS.get(region, 'the model is shown a part of each image alone.')}"


def repeated(instead: Run) -> str:
    """Why a run with a score is not ranked, where this one counts instead of it."""
    return f"same settings, seed and fold as {instead.folder.path.name}, which started later and counts"


def _repetitions(board: Board) -> list[str]:
    """A line for each run that counts alone though others have its settings, seed and fold: what they scored."""
    groups: dict[Path, list[Run]] = {}
    for run in board.unranked:
        if (counts := board.instead.get(run.folder.path)) is not None:
            groups.setdefault(counts.folder.path, []).append(run)
    lines = []
    for older in groups.values():
        counts = board.instead[older[0].folder.path]
        values = [f"{run.value:.4f}" for run in (counts, *older) if run.value is not None]
        said = f"they scored {', '.join(values[1:])}, it {values[0]}" if len(set(values)) > 1 else "with the same score"
        lines.append(
            f"repeated: {counts.folder.shown} counts for {len(older)} older with its settings and seed: {said}."
        )
    return lines


def _unranked(board: Board, table: Table) -> str:
    runs = [*board.unranked, *(run for section in board.sections for run in section.runs)]
    columns = [one for one in board.columns if len({one.cell(run) for run in runs}) > 1]
    header = ["status", *(column.title for column in columns), "best so far", "time", "run"]
    rows = []
    for run in board.unranked:
        best = f"{run.metric} {run.so_far:.4f}" if run.so_far is not None else ""
        time = duration(run.seconds) if run.seconds is not None else ""
        rows.append([run.status, *(column.cell(run) for column in columns), best, time, run.folder.shown])
    return table(header, rows)


def _spread(found: Spread | None, several: bool) -> str:
    if found is None:
        return ""
    spread = f" ± {found.std:.4f}" if found.std is not None else ""
    return f"{found.mean:.4f}{spread}{f' ({found.count})' if several else ''}"


def relative(home: Path, path: Path) -> str:
    """The path of a run as seen from the CSV, so that a study can be moved whole; absolute where it is elsewhere."""
    home, path = home.resolve(), path.resolve()
    return os.path.relpath(path, home) if path.is_relative_to(home) else str(path)
