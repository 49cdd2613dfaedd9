"""PLACEHOLDER until wt-intervals is merged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Units:
    """What is resampled as a whole."""

    codes: NDArray[np.int64]
    kind: str
    number: int


def units_of(patient_ids: Sequence[str | None], groups: Sequence[str | None] | None = None) -> Units:
    """Units."""
    kind, names = "patient", list(patient_ids)
    if not any(names) and groups is not None and any(groups):
        kind, names = "group", list(groups)
    if not any(names):
        kind = "image"
    filled: list[Any] = [f"u{name}" if name else f"i{row}" for row, name in enumerate(names)]
    codes = np.unique(filled, return_inverse=True)[1].astype(np.int64) if filled else np.zeros(0, np.int64)
    return Units(codes, kind, len(set(filled)))
