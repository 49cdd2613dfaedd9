"""What was measured as a Markdown table."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_HOLDS = {True: "yes", False: "**no**", None: ""}


def table(results: Iterable[Mapping[str, Any]]) -> str:
    """The claims of all cases, as `Result.as_dict` has them, or why a case was left out.

    A ratio is the median over the repetitions; beside it the smallest and the largest.
    """
    rows = ["| | ratio | spread | limit | holds |", "|---|---|---|---|---|"]
    for result in results:
        rows += _rows(result)
    return "\n".join(rows)


def _rows(result: Mapping[str, Any]) -> Iterator[str]:
    if "skipped" in result:
        yield f"| {result['case']} | {result['skipped']} | | | |"
        return
    for line in result["lines"]:
        limit = "" if line["limit"] is None else f"{'≥' if line['at_least'] else '≤'} {line['limit']:.2f}"
        spread = f"{_shown(line['min'])} to {_shown(line['max'])}"
        yield f"| {line['what']} | {_shown(line['median'])} | {spread} | {limit} | {_HOLDS[line['holds']]} |"


def _shown(ratio: float) -> str:
    """Two decimals are as much as such a figure is worth; of small ones, three."""
    return f"{ratio:.3f}" if abs(ratio) < 0.2 else f"{ratio:.2f}"
