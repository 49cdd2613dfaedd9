"""The `optimizer` and `scheduler` groups."""

from typing import Annotated, Literal

from msgspec import Meta

from medimg.config.base import BelowOne, Component, NonNegative, NonNegativeInt, Positive, PositiveInt, UnitInterval


class OptimizerConfig(Component, frozen=True, kw_only=True):
    """What all optimizers have in common."""

    lr: Annotated[Positive, Meta(description="learning rate")] = 1e-3
    weight_decay: Annotated[NonNegative, Meta(description="weight decay")] = 0.0


class AdamConfig(OptimizerConfig, frozen=True, kw_only=True, tag="torch.optim.Adam"):
    """Adam (Kingma and Ba, 2015)."""

    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    eps: Positive = 1e-8
    amsgrad: bool = False


class AdamWConfig(OptimizerConfig, frozen=True, kw_only=True, tag="torch.optim.AdamW"):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    weight_decay: NonNegative = 1e-2
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999)
    eps: Positive = 1e-8
    amsgrad: bool = False


class SGDConfig(OptimizerConfig, frozen=True, kw_only=True, tag="torch.optim.SGD"):
    """Stochastic gradient descent with momentum."""

    lr: Positive = 1e-2
    momentum: BelowOne = 0.9
    nesterov: bool = False


class RMSpropConfig(OptimizerConfig, frozen=True, kw_only=True, tag="torch.optim.RMSprop"):
    """RMSprop."""

    alpha: BelowOne = 0.99
    eps: Positive = 1e-8
    momentum: BelowOne = 0.0
    centered: bool = False


AnyOptimizer = AdamConfig | AdamWConfig | SGDConfig | RMSpropConfig


class SchedulerConfig(Component, frozen=True, kw_only=True):
    """What all schedulers have in common."""


class StepConfig(SchedulerConfig, frozen=True, kw_only=True, tag="torch.optim.lr_scheduler.StepLR"):
    """The learning rate times `gamma` every `step_size` epochs."""

    step_size: PositiveInt = 7
    gamma: Positive = 0.1


class CosineConfig(SchedulerConfig, frozen=True, kw_only=True, tag="medimg.models.cosine_with_warmup"):
    """Linear warm-up, then half a cosine down to `min_lr_ratio` of the learning rate; changes at every step."""

    warmup_epochs: NonNegative = 1.0
    min_lr_ratio: UnitInterval = 0.0


class PlateauConfig(SchedulerConfig, frozen=True, kw_only=True, tag="torch.optim.lr_scheduler.ReduceLROnPlateau"):
    """The learning rate times `factor` where the monitored metric has not improved for `patience` epochs."""

    factor: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    patience: NonNegativeInt = 3
    threshold: NonNegative = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    min_lr: NonNegative = 0.0


class OneCycleConfig(SchedulerConfig, frozen=True, kw_only=True, tag="torch.optim.lr_scheduler.OneCycleLR"):
    """One-cycle (Smith, 2018); `max_lr` null takes `optimizer.lr`; changes at every step."""

    max_lr: Positive | None = None
    pct_start: UnitInterval = 0.3
    div_factor: Positive = 25.0
    final_div_factor: Positive = 1e4
    cycle_momentum: Annotated[bool, Meta(description="let momentum fall while the learning rate rises")] = False


AnyScheduler = StepConfig | CosineConfig | PlateauConfig | OneCycleConfig
