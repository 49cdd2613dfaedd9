"""A check in the terminal: the counts, the findings by severity with their first files, and nothing longer."""

from textwrap import shorten

from medimg.checks.findings import KINDS, SEVERITIES, Finding, Report, Severity, by_kind, plural
from medimg.checks.shortcuts import meaning

_SHOWN = 3  # findings of a kind, and files of a finding
_LINE = 140  # characters of a message in a log


def told(report: Report) -> str:
    """The report as text, without the places of its files."""
    groups = by_kind(report.findings)
    parts = [_counts(report), _summary(report)]
    parts += [group_told(severity, kind, found) for (severity, kind), found in groups.items()]
    parts.append(meaning(report.unit) if any(kind == "shortcut" for _, kind in groups) else _no_shortcut(report))
    return "\n\n".join(parts)


def in_one_line(kind: str, found: list[Finding]) -> str:
    """Findings of one kind for a log: the first, and how many more."""
    more = f" (and {len(found) - 1:,} more)" if len(found) > 1 else ""
    return f"check: {kind}: {shorten(found[0].message, _LINE, placeholder=' ...').rstrip('.')}{more}"


def _counts(report: Report) -> str:
    from medimg.reporting.tables import terminal_table

    classes = list(next(iter(report.counts.values()), {}))
    rows = [[label, *(f"{by_class[label]:,}" for by_class in report.counts.values()), ""] for label in classes]
    rows.append(["all", *(f"{sum(by_class.values()):,}" for by_class in report.counts.values()), ""])
    splits = ["images" if split == "none" else split for split in report.counts]
    return terminal_table(["class", *splits, ""], rows)


def _summary(report: Report) -> str:
    names = {"severe": "severe", "warning": "warnings", "note": "notes"}
    numbers = [(names[severity], len(report.of(severity))) for severity in SEVERITIES]
    found = ", ".join(f"{number:,} {name.removesuffix('s') if number == 1 else name}" for name, number in numbers)
    return f"Found: {found}." if report.findings else "Nothing was found, which is no all-clear: see the page."


def group_told(severity: Severity, kind: str, found: list[Finding]) -> str:
    """Findings of one kind: the first of them with their first files, and what to do about them."""
    lines = [f"{severity.upper()}: {KINDS[kind]} ({len(found):,})"]
    shown = len(found) if kind == "shortcut" else _SHOWN  # each of these is another thing
    for finding in found[:shown]:
        lines.append(f"  {finding.message}")
        if finding.files and finding.files[0] not in finding.message:
            more = len(finding.files) - _SHOWN
            lines.append(f"    {', '.join(finding.files[:_SHOWN])}{f' and {more:,} more' if more > 0 else ''}")
    if len(found) > shown:
        lines.append(f"  and {len(found) - shown:,} more")
    cures = dict.fromkeys(finding.cure for finding in found[:shown] if finding.cure)
    lines += [f"  -> {cure}" for cure in cures]
    return "\n".join(lines)


def _no_shortcut(report: Report) -> str:
    if not report.comparisons:
        return "Shortcuts: nothing to compare the classes with, or too few images."
    return f"Shortcuts: none was found in {plural(len(report.comparisons), 'comparison')}. That is no all-clear."
