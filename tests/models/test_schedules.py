"""The cosine schedule, against its formula and torch's own."""

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from medimg.models.schedules import cosine_with_warmup


def optimizer(lr: float = 0.1) -> SGD:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


def rates(schedule: LambdaLR | CosineAnnealingLR, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(float(schedule.get_last_lr()[0]))
        schedule.optimizer.step()
        schedule.step()
    return found


def test_without_warmup_it_is_torchs_cosine() -> None:
    ours = rates(cosine_with_warmup(optimizer(), 20, 0, min_lr_ratio=0.1), 20)
    assert ours == pytest.approx(rates(CosineAnnealingLR(optimizer(), T_max=20, eta_min=0.01), 20))


def test_warmup_is_linear_and_cosine_follows() -> None:
    found = rates(cosine_with_warmup(optimizer(), 24, 4), 24)
    assert found[:5] == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1])
    assert found[4:] == pytest.approx(rates(CosineAnnealingLR(optimizer(), T_max=20), 20))


def test_past_the_end_it_stays_at_its_lowest() -> None:
    assert rates(cosine_with_warmup(optimizer(), 5, 1, 0.3), 9)[5:] == pytest.approx([0.03] * 4)
    assert rates(cosine_with_warmup(optimizer(), 2, 4, 0.0), 6) == pytest.approx([0.02, 0.04, 0.06, 0.08, 0.1, 0.0])


def test_resumed_it_goes_on() -> None:
    whole = rates(cosine_with_warmup(optimizer(), 12, 3, 0.05), 12)
    first = cosine_with_warmup(optimizer(), 12, 3, 0.05)
    rates(first, 5)
    state, states = first.state_dict(), first.optimizer.state_dict()
    second_optimizer = optimizer()
    second = cosine_with_warmup(second_optimizer, 12, 3, 0.05)
    second_optimizer.load_state_dict(states)
    second.load_state_dict(state)
    assert rates(second, 7) == pytest.approx(whole[5:])
