"""Which of two epochs is better, said in one place."""

from collections.abc import Mapping
from typing import Any

from medimg.config import MonitorConfig

Rank = tuple[float, float]


def rank(metrics: Mapping[str, Any], monitor: MonitorConfig) -> Rank | None:
    """How good an epoch is: more is better. A tie in the monitored metric goes to the lower validation loss.

    Small validation sets tie all the time: 20 images have 21 accuracies. None where the metric was not measured.
    """
    if monitor.metric not in metrics:
        return None
    score = float(metrics[monitor.metric])
    return (score if monitor.mode == "max" else -score, -float(metrics.get("val/loss", 0.0)))
