"""Torchvision's models with new heads: shapes, names, sizes and preprocessing are torchvision's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import yaml
from torch import nn

from medimg.config.model import TorchvisionConfig
from medimg.errors import RequestError
from medimg.models.backbone import replace_head
from medimg.models.torchvision_models import torchvision_backbone

CONF = Path(__file__).parents[2] / "conf" / "model"
# One of each family, and its head: dropout, layer, and what follows.
HEADS = {
    "alexnet": 1,
    "convnext_tiny": 1,
    "densenet121": 1,
    "efficientnet_b0": 2,
    "googlenet": 2,
    "inception_v3": 2,
    "mnasnet0_5": 2,
    "mobilenet_v2": 2,
    "mobilenet_v3_small": 2,
    "regnet_y_400mf": 1,
    "resnet18": 1,
    "shufflenet_v2_x0_5": 1,
    "squeezenet1_1": 4,
    "swin_v2_t": 1,
    "vgg11": 2,
    "vit_b_32": 1,
}
LARGE_INPUT = {"inception_v3": 75, "squeezenet1_1": 65}


def scratch(name: str, image_size: int | tuple[int, int] | None = 64, **options: Any) -> Any:
    config = TorchvisionConfig(backbone=name, weights=None, **options)
    return torchvision_backbone(config, num_classes=5, image_size=image_size)


def untrained(name: str, **options: Any) -> nn.Module:
    """Torchvision's own model, without memory for its weights where it can do without."""
    aux = {"aux_logits": False, "init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        net: nn.Module = torchvision.models.get_model(name, weights=None, **aux, **options)
    return net


def shapes(net: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(key, value.shape) for key, value in net.state_dict().items()]


@pytest.mark.parametrize("name", HEADS)
def test_head_is_replaced_and_split_off(name: str) -> None:
    size = LARGE_INPUT.get(name, 64)
    backbone = scratch(name, size).eval()
    images = torch.randn(1, 3, size, size)
    with torch.no_grad():
        logits, features = backbone(images), backbone.features(images)
        assert logits.shape == (1, 5)
        assert torch.equal(backbone.head(features).flatten(1), logits)
    assert len(backbone.head) == HEADS[name]
    own = untrained(name, num_classes=5, **({"image_size": size} if name.startswith("vit") else {}))
    assert shapes(backbone.net) == shapes(own)


FILES = {file: yaml.safe_load(file.read_text()) for file in sorted(CONF.glob("*.yaml"))}


@pytest.mark.parametrize("file", [file for file in FILES if "defaults" in FILES[file]], ids=lambda file: file.stem)
def test_every_model_file_names_a_model_whose_head_can_be_replaced(file: Path) -> None:
    assert FILES[file]["name"] == FILES[file]["backbone"] == file.stem
    net = untrained(file.stem)
    replace_head(net, 5)
    assert shapes(net) == shapes(untrained(file.stem, num_classes=5))


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_no_auxiliary_outputs_in_training(name: str) -> None:
    assert scratch(name, 75).train()(torch.randn(2, 3, 75, 75)).shape == (2, 5)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b1", "efficientnet_v2_s"])
def test_preprocessing_is_torchvisions_preset(name: str) -> None:
    found = scratch(name, None).preprocessing
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    assert (found.height, found.width, found.channels) == (*preset.crop_size * 2, 3)
    assert (list(found.mean), list(found.std)) == (preset.mean, preset.std)


def test_preprocessing_of_the_weights_that_are_named() -> None:
    config = TorchvisionConfig(backbone="regnet_y_16gf", weights="IMAGENET1K_SWAG_E2E_V1")
    with pytest.MonkeyPatch.context() as patch:  # the model itself has 84 million weights
        patch.setattr("torchvision.models.get_model", lambda *_, **__: torchvision.models.regnet_y_400mf())
        assert torchvision_backbone(config, 2, load_weights=False).preprocessing.height == 384


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_half_range_is_what_torchvision_makes_inside(name: str) -> None:
    """Torchvision's pretrained networks take ImageNet's normalisation and change it into another one themselves."""
    found = scratch(name, 75).preprocessing
    inside = torchvision.models.get_model(
        name, weights=None, aux_logits=False, init_weights=False, transform_input=True
    )._transform_input
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    unit = torch.rand(2, 3, 4, 4)
    theirs = inside(torchvision.transforms.functional.normalize(unit, preset.mean, preset.std))
    torch.testing.assert_close(found.normalise(unit), theirs)


def test_height_and_width_may_differ() -> None:
    backbone = scratch("mobilenet_v3_small", (48, 96))
    assert (backbone.preprocessing.height, backbone.preprocessing.width) == (48, 96)
    assert backbone.eval()(torch.randn(1, 3, 48, 96)).shape == (1, 5)


@pytest.mark.parametrize(
    ("name", "size", "allowed"),
    [
        ("vit_b_16", 100, "multiple of 16"),
        ("vit_b_32", (64, 96), "square"),
        ("maxvit_t", 256, "multiples of 224"),
        ("alexnet", 32, "63x63"),
        ("densenet121", (64, 28), "29x29"),
    ],
)
def test_impossible_sizes_are_refused(name: str, size: int | tuple[int, int], allowed: str) -> None:
    with pytest.raises(RequestError, match=allowed) as error:
        scratch(name, size)
    assert "data.image_size" in str(error.value) and name in str(error.value)


def test_unknown_models_are_answered_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="resnet50"):
        scratch("resnet5O")
    with pytest.raises(RequestError, match="squeezenet1_1, "):
        scratch("zzz")
    with pytest.raises(RequestError, match="fcn_resnet50"):  # a torchvision model, but one for segmentation
        scratch("fcn_resnet50")


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1", "googlenet"])
def test_one_channel(name: str) -> None:
    torch.manual_seed(0)
    three = scratch(name).eval()
    torch.manual_seed(0)
    one = scratch(name, in_channels=1).eval()
    grey = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(one(grey), three(grey.repeat(1, 3, 1, 1)), rtol=1e-4, atol=1e-5)
    assert one.preprocessing.channels == 1
    assert one.preprocessing.mean == pytest.approx((sum(three.preprocessing.mean) / 3,))
    assert one.preprocessing.std == pytest.approx((sum(three.preprocessing.std) / 3,))


def test_dropout_and_freezing_are_passed_on() -> None:
    backbone = scratch("mobilenet_v3_small", dropout=0.7, freeze=True).train()
    assert backbone.head[0].p == 0.7
    assert backbone.head.training and not backbone.net.features.training
    assert sum(parameter.requires_grad for parameter in backbone.parameters()) == 2
