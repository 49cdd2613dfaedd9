"""Tables of text: for the terminal and as Markdown."""

import re
from collections.abc import Sequence

_WIDEST = 40


def terminal_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side under a rule; long cells lose their middle, but for those of the last column."""
    *_, last = range(len(header))
    short = [[readable(cell) for cell in row] for row in rows]
    cut = [[cell if place == last else shortened(cell, _WIDEST) for place, cell in enumerate(row)] for row in short]
    widths = [max(len(cell) for cell in column) for column in zip(header, *cut, strict=True)]
    rule = ["-" * width for width in widths]
    lines = ("  ".join(map(str.ljust, line, widths)) for line in (header, rule, *cut))
    return "\n".join(line.rstrip() for line in lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table as GitHub reads it, nothing cut."""
    lines = [[escaped(readable(cell)) for cell in row] for row in (header, *rows)]
    lines.insert(1, ["---"] * len(header))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shortened(text: str, longest: int) -> str:
    """The text without its middle where it is too long; what tells paths apart is mostly at their ends."""
    text = " ".join(text.split())
    if len(text) <= longest:
        return text
    tail = (longest - 3) * 2 // 3
    return f"{text[: longest - 3 - tail]}...{text[-tail:]}"


def duration(seconds: float) -> str:
    """A time in a unit that fits."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds > 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def amount(number: int) -> str:
    """A count, in millions where it is large."""
    return f"{number / 1e6:.1f} M" if number >= 1e6 else f"{number:,}"


def readable(cell: str) -> str:
    """Long decimal numbers, as a search draws them, to five digits."""
    return re.sub(r"\d+\.\d{6,}(e[+-]?\d+)?", lambda found: f"{float(found[0]):.5g}", cell)


def escaped(cell: str) -> str:
    """A text that means itself in Markdown, in a table as well."""
    for found, instead in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("*", "\\*"), ("`", "\\`")):
        cell = cell.replace(found, instead)
    return " ".join(cell.split())
