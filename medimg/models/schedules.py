"""Learning-rate schedules that torch does not have."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def cosine_with_warmup(
    optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, min_lr_ratio: float = 0.0
) -> LambdaLR:
    """Linear warm-up to the full learning rate, then half a cosine down to `min_lr_ratio` of it.

    The learning rate is a function of the step alone, so a resumed run goes on as if never stopped. It is full at
    step `warmup_steps`, never 0 while warming up, and stays at its lowest from `total_steps` on.

    Args:
        optimizer: its present learning rates are the full ones.
        total_steps: optimizer steps of the whole training.
        warmup_steps: how many of them come before the full learning rate.
        min_lr_ratio: 0..1.
    """

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / (warmup_steps + 1)
        done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        return min_lr_ratio + (1 - min_lr_ratio) * 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)
