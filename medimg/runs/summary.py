"""A few runs side by side, as a table for the terminal."""

import json
from collections.abc import Sequence
from typing import Any

from medimg.runs.folder import RunFolder

COLUMNS = ("run", "status", "best epoch", "val macro-F1", "val accuracy", "test macro-F1", "seconds")


def summary(folders: Sequence[RunFolder]) -> str:
    """The runs ranked by macro-F1 on validation, the unfinished last. Test scores stand where they were evaluated."""
    rows = sorted((_row(folder) for folder in folders), key=lambda row: (row[3] == "", _descending(row[3]), row[0]))
    columns = [column for column in zip(COLUMNS, *rows, strict=True) if any(column[1:]) or not rows]
    widths = [max(len(cell) for cell in column) for column in columns]
    rule = tuple("-" * width for width in widths)
    head, *body = zip(*columns, strict=True)
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, rule, *body)
    ]
    return "\n".join(line.rstrip() for line in lines)


def _row(folder: RunFolder) -> tuple[str, ...]:
    info = folder.info()
    results: dict[str, Any] = {}
    if folder.results_file.is_file() and info.get("status") == "completed":
        results = json.loads(folder.results_file.read_text(encoding="utf-8"))
    val, test = results.get("val", {}), results.get("test", {})
    name = folder.path.name + (" (synthetic)" if results.get("synthetic") else "")
    scores = (_number(val.get("f1_macro")), _number(val.get("accuracy")), _number(test.get("f1_macro")))
    return (name, info.get("status", "not started"), str(results.get("best_epoch", "")), *scores, _seconds(info))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _seconds(info: dict[str, Any]) -> str:
    return "" if info.get("seconds") is None else f"{info['seconds']:.1f}"


def _descending(cell: str) -> float:
    return -float(cell) if cell else 0.0
