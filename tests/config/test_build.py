"""Components become the objects that they stand for, and nothing below them does."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from medimg.config import AdamConfig, Custom, PlateauConfig, StepConfig
from medimg.config.build import build, locate
from medimg.errors import RequestError


@dataclass
class Recorder:
    """Stands for a class of the user's own."""

    given: Any = None
    more: int = 0


def custom(**arguments: Any) -> Custom:
    return Custom(target=f"{__name__}.Recorder", arguments=arguments)


def test_optimizer_and_scheduler() -> None:
    parameters = [torch.nn.Parameter(torch.zeros(2))]
    optimizer = build(AdamConfig(lr=0.5, betas=(0.8, 0.9)), parameters)
    assert type(optimizer) is torch.optim.Adam
    assert (optimizer.defaults["lr"], optimizer.defaults["betas"]) == (0.5, (0.8, 0.9))
    assert type(build(StepConfig(), optimizer)) is torch.optim.lr_scheduler.StepLR
    assert build(PlateauConfig(patience=7), optimizer, mode="max").mode == "max"


def test_left_out_and_added_arguments() -> None:
    assert build(custom(given=1, mine=2), leave_out=("mine",), more=3) == Recorder(1, 3)
    assert build(custom(given=1, more=2), more=5).more == 5


def test_nested_targets_are_never_built() -> None:
    nested = {"_target_": "os.system", "command": "true"}
    assert build(custom(given=nested)).given == nested
    assert build(custom(given=[nested])).given == [nested]


@pytest.mark.parametrize("target", ["nowhere.Thing", "os.nothing", "os", "", ".", "medimg..x"])
def test_a_target_that_is_not_there(target: str) -> None:
    with pytest.raises(RequestError, match="cannot be found"):
        locate(target)


def test_arguments_that_do_not_fit_are_named() -> None:
    with pytest.raises(RequestError, match=r"Recorder.*'wrong'"):
        build(custom(wrong=1))
