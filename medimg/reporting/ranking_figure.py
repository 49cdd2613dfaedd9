"""The picture of a leaderboard: every run as a dot, the mean of a setting, and one standard deviation."""

from collections.abc import Sequence
from io import BytesIO
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medimg.reporting.tables import readable, shortened
from medimg.runs.columns import Column
from medimg.runs.leaderboard import Board, Entry, Section

_MOST_SETTINGS = 30
_MOST_SECTIONS = 4
_LONGEST_LABEL = 60  # letters of a line...
_MOST_LINES = 3  # ...and its lines
_PERFECT = 1.0  # the highest that a metric can be of which more is better
_OFF = frozenset({"", "none", "null", "false"})
_RUN, _MEAN = "#56B4E9", "#B34700"  # sky blue and dark orange: apart for all readers, and in print


def ranking_figure(board: Board) -> bytes:
    """A PNG with a panel for each section, the best setting on top."""
    sections = board.sections[:_MOST_SECTIONS]
    labels = [_labels(section, board) for section in sections]
    heights = [1.3 + sum(0.13 + 0.15 * (1 + label.count("\n")) for label in each) for each in labels]
    figure = Figure(figsize=(9, sum(heights)), dpi=110, layout="constrained")
    panels = figure.subplots(len(sections), 1, squeeze=False, height_ratios=heights)[:, 0]
    for number, (axes, section) in enumerate(zip(panels, sections, strict=True), start=1):
        _draw(axes, section, labels[number - 1], f"{number}. " if len(board.sections) > 1 else "")
    several = any(len(entry.runs) > 1 for section in sections for entry in section.entries)
    notes = ["dots: runs; diamond and bar: mean and standard deviation"] if several else []
    if len(board.sections) > len(sections):
        notes.append(f"{len(board.sections) - len(sections)} more tables are in leaderboard.md")
    if notes:
        figure.supxlabel("; ".join(notes), fontsize=8)
    stream = BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def _labels(section: Section, board: Board) -> list[str]:
    columns = section.split_columns(board.columns)[0]
    shown = enumerate(section.entries[:_MOST_SETTINGS], start=1)
    return [f"{rank}. {_label(entry, columns)}" for rank, entry in shown]


def _draw(axes: Axes, section: Section, labels: Sequence[str], prefix: str) -> None:
    entries = section.entries[:_MOST_SETTINGS]
    several = any(len(entry.runs) > 1 for entry in entries)
    for place, entry in enumerate(entries):
        values = [run.value for run in entry.runs if run.value is not None]
        if several:
            sides = _sides(entry, section.first.mode)
            bars = axes.errorbar(entry.score.mean, place, xerr=sides, fmt="D", color=_MEAN, capsize=4, markersize=7)
            bars.lines[0].set_clip_on(False)
        dots = axes.plot(
            values, [place] * len(values), "o", color=_RUN, markersize=5, markeredgecolor="white", zorder=3
        )
        dots[0].set_clip_on(False)  # those of a perfect score lie on the edge
    axes.set_yticks(range(len(entries)), labels, fontsize=8, parse_math=False)
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.margins(x=0.05)
    left, right = axes.get_xlim()
    if section.first.mode == "max" and right > _PERFECT >= max(entry.score.mean for entry in entries):
        axes.set_xlim(min(left, _PERFECT - 0.01), _PERFECT)
    axes.grid(axis="x", color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel(section.by, fontsize=9, parse_math=False)
    left_out = len(section.entries) - len(entries)
    title = f"{prefix}{section.title}" + (f"; {left_out} more settings are in the table" if left_out else "")
    axes.set_title(title, fontsize=10, loc="left", parse_math=False)


def _sides(entry: Entry, mode: str) -> list[list[float]] | None:
    """The bar to the left and to the right; there is no better score than a perfect one."""
    std = entry.score.std
    if std is None:
        return None
    room = _PERFECT - entry.score.mean
    return [[std], [min(std, room) if mode == "max" and room >= 0 else std]]


def _label(entry: Entry, columns: Sequence[Column]) -> str:
    """The setting in few words: names of groups by themselves, other values with their key, nothing of what is off."""
    run = entry.runs[0]
    cells = [(column, column.cell(run)) for column in columns]
    off = _OFF if any(cell not in _OFF for _, cell in cells) else {""}
    words = [
        shortened(cell if column.group and cell != "none" else f"{column.title} {readable(cell)}", _LONGEST_LABEL)
        for column, cell in cells
        if cell not in off
    ]
    alone = run.folder.path.name if len(entry.runs) == 1 else f"{len(entry.runs)} runs"
    lines = wrap(", ".join(words) or alone, _LONGEST_LABEL, max_lines=_MOST_LINES, placeholder=" ...")
    return "\n".join(lines)
