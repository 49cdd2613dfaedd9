"""Which of two epochs is better, said in one place."""

import math
from collections.abc import Mapping
from typing import Any

from medimg.config import MonitorConfig

Rank = tuple[float, float]


def rank(metrics: Mapping[str, Any], monitor: MonitorConfig) -> Rank | None:
    """How good an epoch is: more is better. A tie in the monitored metric goes to the lower validation loss.

    Small validation sets tie all the time: 20 images have 21 accuracies. A score that is not defined (NaN, such as the
    F1 of a class that is absent) is worse than any other. None where the metric was not measured.
    """
    if monitor.metric not in metrics:
        return None
    score = float(metrics[monitor.metric])
    known = -math.inf if math.isnan(score) else score if monitor.mode == "max" else -score
    return (known, -float(metrics.get("val/loss", 0.0)))
