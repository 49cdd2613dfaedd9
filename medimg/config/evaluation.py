"""The `evaluation` part of the configuration: what is computed from predictions, once a model is trained."""

from typing import Annotated, Literal

from msgspec import Meta

from medimg.config.base import Node, PositiveInt

Share = Annotated[float, Meta(gt=0, lt=1)]
PointName = Literal["argmax", "youden", "sensitivity_at_specificity", "specificity_at_sensitivity", "cost"]


class EvaluationConfig(Node, frozen=True, kw_only=True):
    """Changes no training: `medimg evaluate` takes these keys, too, for a run that is finished."""

    resamples: Annotated[int, Meta(ge=100, description="bootstrap resamples behind the 95 % intervals")] = 2000
    operating_point: Annotated[
        PointName, Meta(description="binary tasks: how the threshold of yes or no is chosen, on validation")
    ] = "youden"
    specificity: Annotated[Share, Meta(description="what sensitivity_at_specificity keeps")] = 0.9
    sensitivity: Annotated[Share, Meta(description="what specificity_at_sensitivity keeps")] = 0.9
    false_negative_cost: Annotated[
        float, Meta(gt=0, description="operating_point=cost: what a miss costs, where a false alarm costs 1")
    ] = 1.0
    patient_score: Annotated[
        Literal["mean", "max"], Meta(description="a patient's probabilities from those of the images")
    ] = "mean"
    min_patients: Annotated[
        PositiveInt,
        Meta(description="fewer in a class, and thresholds and temperature are not fitted: too few to choose by"),
    ] = 20
    subgroups: Annotated[
        tuple[str, ...] | None, Meta(description="columns of the manifest to break scores down by; null: all that can")
    ] = None
    min_group: Annotated[PositiveInt, Meta(description="patients below which a subgroup is counted and not scored")] = (
        20
    )
