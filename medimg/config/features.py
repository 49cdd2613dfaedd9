"""Whether a run can train on features that a frozen trunk has made of the images once."""

from collections.abc import Mapping
from typing import Any

GROUPS = ("data", "model", "augment", "trainer")  # what it depends on


def keeps_features(config: Mapping[str, Any]) -> bool:
    """Whether an image has the same features in every epoch, or in each of `augment.views`, and they may be kept.

    Args:
        config: in plain containers, at least its `GROUPS`.
    """
    data, model, augment, trainer = (config[name] for name in GROUPS)
    varied = any(value for name, value in augment.items() if name != "views")
    limits = ("overfit_batches", "limit_train_batches", "limit_val_batches")  # the whole split would be run over
    return (
        model.get("freeze") is True
        and (not varied or augment["views"] is not None)
        and data["cache"] != "none"
        and not any(trainer[name] for name in limits)
    )
