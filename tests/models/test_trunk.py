"""A frozen trunk is known by its values, wherever and however they lie in memory."""

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2

from medimg.data.preprocessing import Preprocessing
from medimg.models.backbone import Backbone
from medimg.models.trunk import trunk_digest, trunk_of, trunk_state

SMALL = Preprocessing(8, 8, mean=(0.5,) * 3, std=(0.25,) * 3, channels=3)


def state(changed: str | None = None) -> dict[str, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    if changed is not None:
        net.state_dict()[changed].view(-1)[0] += 1
    return trunk_state(Backbone(net, SMALL, freeze=True))


def test_the_trunk_is_all_but_the_head_with_its_buffers() -> None:
    net = mobilenet_v2(num_classes=3)
    found = trunk_state(Backbone(net, SMALL, freeze=True))
    assert set(net.state_dict()) - set(found) == {"classifier.1.weight", "classifier.1.bias"}
    assert found["features.0.1.running_mean"].data_ptr() == net.state_dict()["features.0.1.running_mean"].data_ptr()


def test_every_value_of_the_trunk_is_in_the_digest_and_none_of_the_head() -> None:
    same = trunk_digest(state())
    assert trunk_digest(state()) == same == trunk_digest(state("3.weight"))
    assert len({same, *(trunk_digest(state(name)) for name in state())}) == 1 + len(state())


def test_names_dtypes_and_shapes_are_in_the_digest() -> None:
    zeros = {"a": torch.zeros(2, 4)}
    others = [{"b": zeros["a"]}, {"a": torch.zeros(4, 2)}, {"a": torch.zeros(2, 4, dtype=torch.int32)}, {}]
    assert len({trunk_digest(each) for each in [zeros, *others]}) == 5
    assert trunk_digest({"a": torch.zeros(1), "b": torch.ones(1)}) != trunk_digest(
        {"a": torch.ones(1), "b": torch.zeros(1)}
    )


def test_order_and_memory_layout_are_not() -> None:
    found = state()
    last = {
        name: value.to(memory_format=torch.channels_last) if value.ndim == 4 else value for name, value in found.items()
    }
    assert not last["0.weight"].is_contiguous()
    assert trunk_digest(dict(reversed(last.items()))) == trunk_digest(found)


def test_half_precision_has_a_digest_too() -> None:
    half = {name: value.bfloat16() for name, value in state().items()}
    assert trunk_digest(half) == trunk_digest(dict(half)) != trunk_digest(state())


def test_a_digest_is_computed_again_where_the_trunk_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = Backbone(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 2)), SMALL, freeze=True)
    computed: list[int] = []
    real = trunk_digest
    monkeypatch.setattr("medimg.models.trunk.trunk_digest", lambda state: (computed.append(1), real(state))[1])
    first = trunk_of(backbone).digest
    assert trunk_of(backbone).digest == first
    assert len(computed) == 1
    changes = (
        lambda: backbone.net[0].weight.add_(1.0),
        lambda: backbone.net[0].weight.data.mul_(2.0),  # which no version counts
        lambda: backbone.net[1].running_mean.data.add_(1.0),
    )
    for number, change in enumerate(changes, 2):
        with torch.no_grad():
            change()
        assert trunk_of(backbone).digest == real(trunk_state(backbone)) != first
        assert len(computed) == number
