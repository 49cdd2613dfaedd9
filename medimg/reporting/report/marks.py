"""Values as HTML that says where each was read: `<span data-source="..." data-value="...">0.812</span>`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from markupsafe import Markup

from medimg.reporting.report.cited import Cited
from medimg.reporting.tables import amount, duration

MISSING = Markup('<span class="small">not defined</span>')


class Number(Markup):
    """A cell that is set to the right."""


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; the first cell of a row is its name."""

    header: Sequence[str | Markup]
    rows: Sequence[Sequence[str | Markup]]

    @classmethod
    def filled(cls, header: Sequence[str | Markup], rows: Sequence[Sequence[str | Markup]]) -> Self:
        """Without the columns that are empty in every row."""
        kept = [place for place in range(len(header)) if not place or any(row[place] for row in rows)]
        return cls([header[place] for place in kept], [[row[place] for place in kept] for row in rows])


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
    return Number(Markup("{} to {}").format(score(value.at(0), digits), score(value.at(1), digits)))


def with_interval(value: Cited, found: Cited) -> Markup:
    """`0.812 (0.760 to 0.850)`."""
    shown = score(value)
    return Number(Markup("{} ({})").format(shown, interval(found))) if value.known and found.known else shown


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
