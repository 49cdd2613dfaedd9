"""The content of results.json, put together from the summaries of splits."""

from collections.abc import Mapping
from typing import Any

from medimg.evaluation.fitting import Fitted
from medimg.evaluation.intervals import LEFT_OUT


def results_of(summaries: Mapping[str, Mapping[str, Any]], fitted: Fitted, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What was measured on some splits.

    Args:
        summaries: by split, as `summary` makes them.
        fitted: thresholds and temperature of the model.
        facts: `best_epoch`, `split_unit`, `synthetic` and whatever else stands beside the numbers.
    """
    partial = {split: found["partial"] for split, found in summaries.items() if found["partial"]}
    return {
        **facts,
        **({"partial": partial} if partial else {}),
        **{split: found["metrics"] for split, found in summaries.items()},
        "ci95": {split: found["ci95"] for split, found in summaries.items()},
        **fitted.as_results(),
        "evaluation": {split: found["evaluation"] for split, found in summaries.items()},
        "caveat": LEFT_OUT,
    }
