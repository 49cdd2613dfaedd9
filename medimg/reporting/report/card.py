"""model_card.md: what reviewers' checklists ask for, filled where the run knows, marked where only the author can.

Headings follow CLAIM (2024 update), TRIPOD+AI (Collins et al., 2024) and model cards (Mitchell et al., 2019).
"""

import hashlib
import logging
import re
from pathlib import Path
from typing import Any

from markupsafe import Markup

from medimg.files import write_text
from medimg.reporting.html import environment
from medimg.reporting.leaderboard import control
from medimg.reporting.report import facts, marks, scores
from medimg.reporting.report.marks import Table
from medimg.reporting.report.source import Source
from medimg.reporting.tables import escaped, markdown_table

log = logging.getLogger(__name__)

_MARK = re.compile(r"\n<!-- medimg wrote this; without a change by hand its SHA-256 is ([0-9a-f]{64}) -->\n\Z")


def render_card(source: Source) -> str:
    """The card as Markdown."""
    made = environment("medimg.reporting.report")
    made.autoescape = False  # Markdown has rules of its own, which the filters below know
    made.filters["plain"] = _plain
    made.filters["md"] = lambda cell: escaped(_plain(cell))
    text = made.get_template("model_card.md.j2").render(
        source=source, facts=facts, scores=scores, marks=marks, table=_table, open=_open, control=control
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def write_card(source: Source, folder: Path) -> None:
    """Writes model_card.md; one that was edited stays, and what the run says now goes beside it where that is new."""
    text = render_card(source)
    file, beside = folder / "model_card.md", folder / "model_card.new.md"
    if file.is_file():
        body, mark = _read(file)
        edited = mark is None or mark != _hash(body)
        if edited and mark == _hash(text):
            return
        if edited:
            log.warning("%s was edited, so it stays; what the run says now is in %s", file, beside.name)
            file = beside
    write_text(file, f"{text}\n<!-- medimg wrote this; without a change by hand its SHA-256 is {_hash(text)} -->\n")


def _read(file: Path) -> tuple[str, str | None]:
    """The text without its mark, and the mark."""
    text = file.read_text(encoding="utf-8", errors="replace")
    found = _MARK.search(text)
    return (text, None) if found is None else (text[: found.start()], found[1])


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(cell: Any) -> str:
    """The text of a cell without its tags."""
    return str(cell.striptags()).replace("\xa0", " ") if isinstance(cell, Markup) else str(cell)


def _table(found: Table) -> str:
    """The table, and its remarks below."""
    rows = [[_plain(cell) for cell in row] for row in found.rows]
    notes = [escaped(_plain(note)) for note in found.notes]
    return "\n\n".join([markdown_table([_plain(cell) for cell in found.header], rows), *notes])


def _open(item: str, question: str) -> str:
    """What only the author knows."""
    return f"**TO FILL IN** ({item}): {question}"
