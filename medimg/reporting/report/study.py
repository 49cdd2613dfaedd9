"""report.html of a study: what a sweep tried, what came out best, and what failed."""

import csv
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from shlex import quote

from markupsafe import Markup

from medimg.files import write_text
from medimg.reporting.html import data_url, environment
from medimg.reporting.leaderboard import TABLE, TIES, cautions, relative, repeated, shared_columns
from medimg.reporting.report import marks
from medimg.reporting.report.cited import Cited
from medimg.reporting.report.marks import Number, Remarks, Table, count, score, text, time, with_interval
from medimg.reporting.scores import WHOLE, metric_in_words
from medimg.reporting.tables import readable
from medimg.runs.columns import Column
from medimg.runs.leaderboard import WHOLE as WHOLE_IMAGES
from medimg.runs.leaderboard import Board, Entry, Section
from medimg.runs.looks import was_looked_at
from medimg.runs.records import Run

_MOST_COMMANDS = 6
_COMMON = {
    "data.root": "where the images are",
    "data.image_size": "image size",
    "model.name": "model",
    "model.weights": "starting weights",
    "model.freeze": "frozen trunk",
    "optimizer.lr": "learning rate",
    "trainer.max_epochs": "epochs at most",
}
_WORDS = _COMMON | {
    "data": "data set",
    "data.name": "data set",
    "data.region": "part that is shown",
    "data.resize": "how images get their size",
    "data.window": "CT window",
    "data.positive_class": "positive class",
    "data.batch_size": "batch size",
    "augment": "augmentation",
    "loss._target_": "loss",
    "loss.class_weights": "class weights",
    "optimizer.weight_decay": "weight decay",
    "scheduler": "schedule",
    "callbacks.early_stopping": "early stopping",
    "trainer.float32_matmul_precision": "precision of 32-bit products",
    "trainer.channels_last": "channels last",
}


@dataclass(frozen=True)
class _Failure:
    """A run that is not ranked: where it is, its score where it has one, and why."""

    run: Run
    link: Markup
    score: Markup
    reason: str


@dataclass(frozen=True)
class _Chosen:
    """The setting of rank 1 of a section: what its runs scored on validation, and how to look at test.

    `alone`: there is no other. `folds`: what its runs have of test is the fold that each held out.
    """

    table: Table
    commands: list[str]
    looked: bool
    alone: bool
    folds: bool


@dataclass(frozen=True)
class _Section:
    """Settings that can be compared."""

    about: Section
    ranking: Table
    shared: Table
    commands: list[str]
    more_commands: bool
    cautions: list[str]
    chosen: _Chosen


def write_study(board: Board, target: Path, title: str) -> None:
    """Writes report.html beside a leaderboard, from leaderboard.csv, leaderboard.png and the folders of its runs.

    A folder that is a run keeps the report of its own.
    """
    if any((target / name).is_file() for name in ("run.json", "ensemble.json")):
        return
    write_text(target / "report.html", render_study(board, target, title))


def render_study(board: Board, target: Path, title: str) -> str:
    """The page as text."""
    made = environment("medimg.reporting.report")
    made.tests["number_cell"] = lambda cell: isinstance(cell, marks.Number)
    picture = target / "leaderboard.png"
    rows = iter(_rows(target))
    sections = [_section(board, section, rows, target) for section in board.sections]
    return made.get_template("study.html.j2").render(
        title=title,
        board=board,
        marks=marks,
        in_words=metric_in_words,
        ties=TIES,
        controls=sorted({region for section in board.sections for region in section.controls}),
        some=any(WHOLE_IMAGES in section.regions for section in board.sections),
        sections=sections,
        today=Cited(datetime.now(UTC).date().isoformat(), "runs:today"),
        picture=data_url(picture.read_bytes(), "image/png") if picture.is_file() else None,
        failures=[_failure(board, run, row, target) for run, row in zip(board.unranked, rows, strict=True)],
        synthetic=any(section.first.synthetic for section in board.sections),
    )


def _section(board: Board, section: Section, rows: Iterator[Cited], target: Path) -> _Section:
    mine = list(islice(rows, len(section.entries)))
    shared: list[list[str | Markup]] = [
        [_words(column), _cell(mine[0].at(column.key))] for column in shared_columns(board, section)
    ]
    shared += _common(section, target, {column.key for column in board.columns})
    return _Section(
        section,
        _ranking(board, section, mine),
        Table(["", ""], shared),
        _commands(section)[:_MOST_COMMANDS],
        len(_commands(section)) > _MOST_COMMANDS,
        cautions(section),
        _chosen(section, target),
    )


def _common(section: Section, target: Path, told: set[str]) -> list[list[str | Markup]]:
    """What a reader looks for first and all runs have alike, as far as no column of the board has it."""
    place = relative(target, section.first.folder.path)
    config = Cited.whole(section.first.folder.read_config(), f"{place}/config.yaml")
    rows: list[list[str | Markup]] = []
    for key, title in _COMMON.items():
        values = {str(run.config.get(key)) for run in section.runs}
        found = config.at(*key.split("."))
        if len(values) == 1 and found.known and not {key, key.partition(".")[0]} & told:
            rows.append([title, marks.setting(found)])
    return rows


def _commands(section: Section) -> list[str]:
    """The command lines that started these runs, where they are known: that of a sweep starts all of its jobs."""
    found = [str(run.folder.info().get("command") or "") for run in section.runs]
    found = [command.replace("__main__.py ", "medimg ", 1) for command in found]
    return [command for command in dict.fromkeys(found) if command.startswith("medimg ")]


def _rows(target: Path) -> list[Cited]:
    """The rows of leaderboard.csv, in its order: the settings of each section, then what is not ranked."""
    with (target / TABLE).open(encoding="utf-8", newline="") as stream:
        return [row for _, row in Cited.whole(list(csv.DictReader(stream)), TABLE).parts()]


def _ranking(board: Board, section: Section, rows: Sequence[Cited]) -> Table:
    """The settings of a section, the best first."""
    columns = section.split_columns(board.columns)[0]
    titles = [_words(column) for column in columns]
    header = ["rank", *titles, metric_in_words(section.first.metric), "validation loss", "runs"]
    header += ["held-out folds" if _has_folds(section) else "test", "time", "status"]
    found = []
    for entry, row in zip(section.entries, rows, strict=True):
        cells = [_cell(row.at(one.key)) for one in columns]
        test = _spread(row.at("test_mean"), row.at("test_std")) if entry.test else ""
        seconds = time(row.at("seconds")) if row.at("seconds") else ""
        loss = score(row.at("val_loss"), 4) if section.ties and row.at("val_loss") else ""
        scores = [_spread(row.at("mean"), row.at("std")), loss, count(row.at("runs")), test]
        found.append([count(row.at("rank")), *cells, *scores, seconds, text(row.at("status"))])
    return Table.filled(header, found)


def _words(column: Column) -> Markup:
    """The title of a column, and what it is called on the command line where a pointer rests on it."""
    words = _WORDS.get(column.key, column.title.replace("_", " "))
    return Markup('<span title="{}">{}</span>').format(column.key, words)


def _has_folds(section: Section) -> bool:
    return section.first.config.get("data.folds") is not None


def _cell(value: Cited) -> Markup:
    return Markup('<span data-source="{}">{}</span>').format(value.source, readable(str(value.value)))


def _spread(mean: Cited, std: Cited) -> Markup:
    """Mean and sample standard deviation."""
    return Number(Markup("{} ± {}").format(score(mean, 4), score(std, 4))) if std else score(mean, 4)


def _chosen(section: Section, target: Path) -> _Chosen:
    entry = section.entries[0]
    monitored = section.first.metric.partition("/")[2]
    names = {
        monitored: WHOLE.get(monitored, monitored),
        **{name: WHOLE[name] for name in ("f1_macro", "accuracy", "auroc")},
    }
    runs = sorted(entry.runs, key=lambda run: (run.config.get("data.fold") or 0, run.config.get("seed") or 0))
    places = {relative(target, run.folder.path): run for run in runs}
    results = {place: Cited.whole(run.folder.results(), f"{place}/results.json") for place, run in places.items()}
    remarks = _missing(results, list(names))
    rows = []
    for place, run in places.items():
        val, intervals = results[place].at("val"), results[place].at("ci95", "val")
        scores = [
            Number(with_interval(val.at(name), intervals.at(name)) + remarks.mark(f"{place}:{name}")) for name in names
        ]
        rows.append([*_seeds(run, place), *scores, _link(run, target)])
    table = Table.filled(["seed", "fold", *names.values(), "run"], rows, remarks.notes())
    commands = [f"medimg evaluate run={quote(run.folder.shown)} split=test" for run in _one_a_fold(entry)]
    looked = any(run.test or was_looked_at(run.folder) for run in runs)
    return _Chosen(table, commands, looked, len(section.entries) == 1, _has_folds(section))


def _seeds(run: Run, place: str) -> list[Markup]:
    config = Cited.whole(run.folder.read_config(), f"{place}/config.yaml")
    found = [config.at("seed"), config.at("data", "fold")]
    return [marks.setting(one) if one.known else Markup("") for one in found]


def _missing(results: Mapping[str, Cited], names: Sequence[str]) -> Remarks:
    """Why an interval is not there, for each run and score without one."""
    return Remarks(
        {
            f"{place}:{name}": found.at("evaluation", "val", "flags", name)
            for place, found in results.items()
            for name in names
            if not found.at("ci95", "val", name).known
        }
    )


def _one_a_fold(entry: Entry) -> list[Run]:
    """The best run of the setting; with folds, of each fold."""
    best: dict[object, Run] = {}
    for run in entry.runs:
        best.setdefault(run.config.get("data.fold"), run)
    return [best[fold] for fold in sorted(best, key=lambda fold: int(str(fold or 0)))]


def _failure(board: Board, run: Run, row: Cited, target: Path) -> _Failure:
    found = row.at("best_so_far")
    measured = Markup("{} {}").format(metric_in_words(run.metric), score(found, 4)) if found else Markup("")
    counts = board.instead.get(run.folder.path)
    reason = repeated(counts) if counts else run.problem or _reason(run)
    return _Failure(run, _link(run, target), measured, reason)


def _link(run: Run, target: Path) -> Markup:
    """To the folder of the run, so that it works wherever the study is moved to as a whole."""
    place = Path(relative(target, run.folder.path))
    url = place.as_uri() if place.is_absolute() else f"./{urllib.parse.quote(place.as_posix())}/"
    return Markup('<a href="{}">{}</a>').format(url, run.folder.path.name)


def _reason(run: Run) -> str:
    if run.status != "failed" or not run.folder.error_file.is_file():
        return ""
    return next(iter(run.folder.error_file.read_text(encoding="utf-8", errors="replace").splitlines()), "")
