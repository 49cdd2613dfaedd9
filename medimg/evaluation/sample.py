"""A predictions table with what the manifest says of its images: all that an evaluation is computed from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from medimg.evaluation.predictions import Predictions
from medimg.evaluation.units import Units, units_of


@dataclass(frozen=True, eq=False)
class Sample:
    """What a model said about images, and what is known of these.

    Attributes:
        predictions: the table.
        positive: the positive class of a binary task; None where there is none.
        groups: what stands in for patients, a name or None for each row of the table; None where nothing does.
        columns: other columns of the manifest, a value for each row; empty where unknown.
        total: how many images the split has, where not all of them were looked at.
    """

    predictions: Predictions
    positive: str | None = None
    groups: tuple[str | None, ...] | None = None
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    total: int | None = None

    @cached_property
    def units(self) -> Units:
        """What is resampled as a whole: patients, what stands in for them, or images."""
        return units_of(self.predictions.patient_ids, self.groups)

    @property
    def is_partial(self) -> bool:
        """Whether only some images of the split were looked at."""
        return self.total is not None and len(self.predictions.paths) < self.total
