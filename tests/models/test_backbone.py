"""The head is found, replaced, split off and frozen alike in every architecture."""

import copy
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn

from medimg import models
from medimg.data.preprocessing import Preprocessing
from medimg.errors import RequestError
from medimg.models.backbone import Backbone, head_names, replace_head, resolve_size, to_one_channel

SMALL = Preprocessing(8, 8, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3), channels=3)


def make_net(*head: nn.Module) -> Any:
    """A trunk with BatchNorm and dropout, and a head."""
    head = head or (nn.Dropout(0.5), nn.Linear(4, 10))
    trunk = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(trunk, nn.Sequential(*head))


def frozen(freeze: Any) -> Any:
    return Backbone(make_net(), SMALL, freeze=freeze)


def images() -> torch.Tensor:
    return torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_head_is_last_layer_with_its_dropout_and_what_follows() -> None:
    assert head_names(make_net()) == ("1.0", "1.1")
    assert head_names(make_net(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 10))) == ("1.2",)
    assert head_names(make_net(nn.Linear(4, 10), nn.Softplus())) == ("1.0", "1.1")


def test_wider_convolutions_are_no_head() -> None:
    net = nn.Sequential(nn.Conv2d(3, 10, 1), nn.Conv2d(10, 10, 3))
    assert head_names(net) == ("0", "1")
    with pytest.raises(RequestError, match="no linear"):
        head_names(nn.Sequential(nn.Conv2d(3, 10, 3)))


@pytest.mark.parametrize("bias", [True, False])
def test_replacing_keeps_inputs_and_bias(bias: bool) -> None:
    net = make_net(nn.Linear(4, 10, bias=bias))
    replace_head(net, 3)
    assert net(images()).shape == (6, 3)
    assert (net[1][0].bias is not None) == bias


def test_own_dropout_is_kept_or_set_and_no_longer_in_place() -> None:
    net = make_net(nn.Dropout(0.5, inplace=True), nn.Linear(4, 10))
    replace_head(net, 3)
    assert (net[1][0].p, net[1][0].inplace) == (0.5, False)
    replace_head(net, 3, dropout=0.0)
    assert net[1][0].p == 0.0


def test_dropout_is_added_without_new_state_dict_keys() -> None:
    net = make_net(nn.Linear(4, 10))
    keys = list(net.state_dict())
    replace_head(net, 1, dropout=0.25)
    assert list(net.state_dict()) == keys
    layer = net[1][0]
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    kept = layer(torch.ones(2000, 4)).detach() * 0.75  # what is kept is scaled up by 1 / (1 - p)
    assert set(kept.round(decimals=3).flatten().tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert kept.mean() == pytest.approx(4 * 0.75, abs=0.1)
    layer.eval()
    assert torch.equal(layer(torch.ones(2, 4)), torch.full((2, 1), 4.0))
    assert copy.deepcopy(net).train()(images()).shape == (6, 1)


def test_features_and_head_make_forward() -> None:
    backbone = frozen(False).eval()
    features = backbone.features(images())
    assert features.shape == (6, 4)
    assert torch.equal(features, backbone.net[0](images()))
    assert torch.equal(backbone.head(features), backbone(images()))


def test_features_are_not_touched_by_the_heads_dropout() -> None:
    net = make_net(nn.Dropout(0.9, inplace=True), nn.Linear(4, 10))
    backbone = Backbone(net, SMALL, freeze=True).train()
    expected = net[0](images())
    before = torch.get_rng_state()
    assert torch.equal(backbone.features(images()), expected)
    assert torch.equal(torch.get_rng_state(), before)  # the head did not run


def test_features_leave_no_hook_behind() -> None:
    backbone = Backbone(make_net(), SMALL)
    backbone.features(images())
    assert backbone(images()).shape == (6, 10)
    with pytest.raises(RuntimeError, match="7 channels"):
        backbone.features(torch.zeros(1, 7, 8, 8))
    assert backbone(images()).shape == (6, 10)


def test_features_that_never_come_are_an_error() -> None:
    net = make_net()
    net[1].forward = lambda x: x
    with pytest.raises(RuntimeError, match="never called"):
        Backbone(net, SMALL).features(images())


def test_state_dict_is_the_networks_own() -> None:
    net = make_net()
    assert list(Backbone(net, SMALL).state_dict()) == [f"net.{key}" for key in net.state_dict()]
    assert next(iter(Backbone(net, SMALL).head.parameters())) is net[1][1].weight


def test_another_layout_changes_neither_names_nor_values() -> None:
    backbone = frozen(True).eval()
    before, expected = copy.deepcopy(backbone.state_dict()), backbone(images())
    seen: list[bool] = []
    layer = backbone.net[0][0]
    layer.register_forward_pre_hook(lambda _, x: seen.append(x[0].is_contiguous(memory_format=torch.channels_last)))
    backbone.lay_out(torch.channels_last)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    after = backbone.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    torch.testing.assert_close(backbone(images()), expected)
    torch.testing.assert_close(backbone.head(backbone.features(images())), expected)
    assert seen == [True, True]
    backbone.load_state_dict(before)  # of a run in the other layout
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    backbone.lay_out(torch.contiguous_format)
    assert torch.equal(backbone(images()), expected)
    assert seen[2:] == [False]


def test_frozen_trunk_stays_in_eval_mode_whatever_train_says() -> None:
    backbone = frozen(True)
    nn.ModuleList([backbone]).eval().train()
    before = backbone.net[0][1].running_mean.clone()
    first, second = backbone.features(images()), backbone.features(images())
    assert torch.equal(first, second)
    backbone(images())
    assert torch.equal(backbone.net[0][1].running_mean, before)
    assert backbone.training and backbone.head.training and backbone.net[1][0].training
    assert not backbone.eval().head.training


def test_frozen_parameters_alone_leave_statistics_and_dropout_alive() -> None:
    backbone = frozen("params").train()
    before = backbone.net[0][1].running_mean.clone()
    assert not torch.equal(backbone.features(images()), backbone.features(images()))
    assert not torch.equal(backbone.net[0][1].running_mean, before)


@pytest.mark.parametrize("freeze", [True, "params", False])
def test_only_the_head_learns_where_frozen(freeze: Any) -> None:
    backbone = frozen(freeze).train()
    backbone(images()).sum().backward()
    learning = {name for name, parameter in backbone.net.named_parameters() if parameter.grad is not None}
    head = {"1.1.weight", "1.1.bias"}
    assert learning == (head if freeze else {name for name, _ in backbone.net.named_parameters()})


@pytest.mark.parametrize("bias", [True, False])
def test_one_channel_gives_what_repeated_grey_gives(bias: bool) -> None:
    conv = nn.Conv2d(3, 5, 3, stride=2, padding=2, dilation=2, bias=bias, padding_mode="reflect")
    net = nn.Sequential(conv, nn.Conv2d(5, 2, 1))
    grey = torch.randn(2, 1, 9, 9)
    expected = net(grey.repeat(1, 3, 1, 1))
    one = to_one_channel(net, SMALL)
    torch.testing.assert_close(net(grey), expected)
    assert (one.channels, one.height, one.width) == (1, 8, 8)
    assert one.mean == pytest.approx((0.5,)) and one.std == pytest.approx((0.2,))


def test_sizes() -> None:
    assert resolve_size(None, 64) == (64, 64)
    assert resolve_size(32, 64) == (32, 32)
    assert resolve_size([16, 32], 64) == (16, 32)


def test_what_the_package_exports_is_never_a_module() -> None:
    """Configurations name these, and a module of the same name would take their place once imported."""
    for name, module in models._MODULES.items():
        if name != "ImageClassifier":
            import_module(f"medimg.models.{module}")
            assert callable(getattr(models, name)) and getattr(models, name).__name__ == name
    assert set(models.__all__) == set(models._MODULES)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = models.nothing
