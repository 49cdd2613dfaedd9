"""Configurations as runs of earlier versions left them."""

import copy
from typing import Any

LATER = (
    *("data.cache", "data.cache_limit", "augment.views", "find", "callbacks.figures.time_share"),
    *("trainer.channels_last", "trainer.compile", "trainer.float32_matmul_precision", "trainer.num_threads"),
)


def without(config: dict[str, Any], keys: tuple[str, ...] = LATER) -> dict[str, Any]:
    """A copy that lacks these dotted keys: those that came later."""
    stripped = copy.deepcopy(config)
    for key in keys:
        *path, last = key.split(".")
        node = stripped
        for name in path:
            node = node[name]
        del node[last]
    return stripped
