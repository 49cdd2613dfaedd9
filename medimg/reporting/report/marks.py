"""Values as HTML that says where each was read: `<span data-source="..." data-value="...">0.812</span>`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from markupsafe import Markup

from medimg.reporting.report.cited import Cited
from medimg.reporting.scores import footnotes, metric_in_words
from medimg.reporting.tables import amount, duration

MISSING = Markup('<span class="small">not defined</span>')


class Number(Markup):
    """A cell that is set to the right."""


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header, and notes below; the first cell of a row is its name."""

    header: Sequence[str | Markup]
    rows: Sequence[Sequence[str | Markup]]
    notes: Sequence[Markup] = ()

    @classmethod
    def filled(
        cls, header: Sequence[str | Markup], rows: Sequence[Sequence[str | Markup]], notes: Sequence[Markup] = ()
    ) -> Self:
        """Without the columns that are empty in every row."""
        kept = [place for place in range(len(header)) if not place or any(row[place] for row in rows)]
        return cls([header[place] for place in kept], [[row[place] for place in kept] for row in rows], notes)


class Remarks:
    """Remarks on some cells of a table, by name, told once each below it: `[1]` in the cell and before the remark."""

    def __init__(self, remarks: Mapping[str, Cited]) -> None:
        self._texts = {name: str(found.value) for name, found in remarks.items() if found}
        self._marks = footnotes(self._texts, list(self._texts))
        self._cited = {str(found.value): found for found in reversed([*remarks.values()])}

    def mark(self, name: str) -> Markup:
        """What goes into the cell."""
        found = self._marks.get(self._texts.get(name, ""))
        return Markup("&nbsp;<sup>{}</sup>").format(found) if found else Markup("")

    def notes(self) -> list[Markup]:
        """What goes below the table."""
        return [
            Markup("<sup>{}</sup> {}").format(mark, text(self._cited[remark])) for remark, mark in self._marks.items()
        ]


def score(value: Cited, digits: int = 3) -> Markup:
    """To three decimals."""
    return _number(value, lambda found: f"{found:.{digits}f}")


def count(value: Cited) -> Markup:
    """A whole number, thousands apart."""
    return _number(value, lambda found: f"{int(found):,}")


def size(value: Cited) -> Markup:
    """A count, in millions where it is large."""
    return _number(value, lambda found: amount(int(found)))


def time(value: Cited) -> Markup:
    """Seconds in a unit that fits."""
    return _number(value, duration)


def text(value: Cited) -> Markup:
    """A text as it stands; whatever is in it is escaped."""
    return Markup('<span data-source="{}">{}</span>').format(value.source, str(value.value))


def worded(value: Cited, words: str) -> Markup:
    """A text in other words than its file has."""
    return Markup('<span data-source="{}" data-raw="{}">{}</span>').format(value.source, str(value.value), words)


def metric(value: Cited) -> Markup:
    """`val/f1_macro` as `macro-F1 on validation`."""
    return worded(value, metric_in_words(str(value.value)))


def moment(value: Cited) -> Markup:
    """A time as `2026-11-21 16:21 UTC`; as it stands where it is none."""
    try:
        found = datetime.fromisoformat(str(value.value))
    except ValueError:
        return text(value)
    return worded(value, found.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"))


def setting(value: Cited) -> Markup:
    """A value of a configuration: a number or word as it stands, lists joined, yes and no for switches."""
    found = value.value
    if isinstance(found, bool) or found is None:
        return Markup('<span data-source="{}">{}</span>').format(value.source, _WORDS[found])
    if isinstance(found, int | float):
        return Number(_number(value, lambda one: f"{one:g}" if isinstance(one, float) else str(one)))
    if isinstance(found, list):
        return Markup(", ").join(setting(one) for _, one in value.parts())
    return text(value)


def interval(value: Cited, digits: int = 3) -> Markup:
    """`0.760 to 0.850`; nothing where there is none."""
    if not value.known:
        return Markup("")
    ends = score(value.at(0), digits), score(value.at(1), digits)
    return Number(Markup('<span class="interval">{} to {}</span>').format(*ends))


def with_interval(value: Cited, found: Cited) -> Markup:
    """`0.812 (0.760 to 0.850)`."""
    shown = score(value)
    if not (value.known and found.known):
        return shown
    return Number(Markup('{} <span class="interval">({})</span>').format(shown, interval(found)))


def listed(values: Cited) -> Markup:
    """Texts of a list, separated by commas."""
    return Markup(", ").join(text(one) for _, one in values.parts())


def _number(value: Cited, shown: Callable[[Any], str]) -> Markup:
    if not value.known:
        return Number(MISSING)
    found = float(value.value) if isinstance(value.value, str) else value.value
    span = Markup('<span data-source="{}" data-value="{}">{}</span>')
    return Number(span.format(value.source, repr(found), shown(found)))


_WORDS = {True: "yes", False: "no", None: "none"}
