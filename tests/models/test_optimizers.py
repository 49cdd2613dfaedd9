"""The fused step is taken where it gains, and leads where the plain one leads."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from medimg.config import AdamConfig, AdamWConfig, Component, RMSpropConfig, SGDConfig
from medimg.config.build import build
from medimg.models import optimizers
from medimg.models.optimizers import make_optimizer


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3, 3, 3), (7,), (2, 5)]
    made = [nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]
    made[0].data = made[0].data.contiguous(memory_format=torch.channels_last)
    return made


def after_steps(optimizer: torch.optim.Optimizer, over: list[nn.Parameter]) -> list[torch.Tensor]:
    for _ in range(5):
        optimizer.zero_grad()
        sum((parameter**4).sum() for parameter in over).backward()  # type: ignore[union-attr]
        optimizer.step()
    return [parameter.detach() for parameter in over]


@pytest.mark.parametrize("config", [AdamConfig(lr=0.1), AdamWConfig(lr=0.1, amsgrad=True)])
def test_a_fused_step_leads_where_the_plain_one_does(config: Component) -> None:
    one, other = parameters(), parameters()
    fused = make_optimizer(config, one)
    assert fused.defaults["fused"]
    plain = build(config, other)
    assert not plain.defaults["fused"]
    torch.testing.assert_close(after_steps(fused, one), after_steps(plain, other))


@pytest.mark.parametrize(
    ("config", "devices", "unscaled", "expected"),
    [
        (AdamConfig(), "cpu", False, True),
        (SGDConfig(), "cpu", False, False),
        (RMSpropConfig(), "cpu", False, False),
        (AdamWConfig(), "cuda", False, True),
        (SGDConfig(), "cuda", False, True),
        (SGDConfig(), "cuda", True, False),  # torch would unscale in the step, after the clipping
        (RMSpropConfig(), "cuda", False, False),
        (AdamConfig(), "mps", False, False),
        (AdamConfig(), "", False, False),
    ],
)
def test_it_is_taken_where_it_gains(
    monkeypatch: pytest.MonkeyPatch, config: Component, devices: str, unscaled: bool, expected: bool
) -> None:
    monkeypatch.setattr(optimizers, "build", lambda _, trained, **more: more)
    fake: Any = [SimpleNamespace(requires_grad=True, device=torch.device(name)) for name in devices.split()]
    assert make_optimizer(config, fake, unscaled=unscaled) == ({"fused": True} if expected else {})


def test_what_is_not_trained_is_left_out() -> None:
    frozen, trained = parameters()[:2]
    frozen.requires_grad_(False)
    assert make_optimizer(AdamConfig(), [frozen, trained]).param_groups[0]["params"] == [trained]
