"""The layer that Grad-CAM looks at, by name, for every backbone; the rule on networks made for it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from medimg.config.compose import load
from medimg.config.model import SmallCNNConfig, TorchvisionConfig
from medimg.data.preprocessing import Preprocessing
from medimg.errors import RequestError
from medimg.models import Backbone, small_cnn, torchvision_backbone
from medimg.models.cam import cam_layer, evaluating
from medimg.models.classifier import build_backbone

CONF = Path(__file__).parents[2] / "conf" / "model"
# the layer and its grid at the size that the backbone was made for
LAYERS = {
    "alexnet": ("features.11", 13),  # the ReLU of the last convolution, before the max-pool
    "convnext_tiny": ("features", 7),
    "covid_cnn": ("blocks.7", 19),
    "densenet121": ("features", 7),
    "densenet161": ("features", 7),
    "efficientnet_b0": ("features", 7),
    "mobilenet_v2": ("features", 7),
    "mobilenet_v3_large": ("features", 7),
    "mobilenet_v3_small": ("features", 7),
    "quickstart_cnn": ("blocks.1", 62),
    "resnet152": ("layer4", 7),
    "resnet18": ("layer4", 7),
    "resnet50": ("layer4", 7),
    "small_cnn": ("blocks.10", 16),
    "squeezenet1_1": ("features", 13),
    "vgg16": ("features.29", 14),
    "vit_b_16": ("encoder.layers.encoder_layer_11.ln_1", 14),
}
# others of torchvision, for which nothing is written down anywhere
OTHERS = {
    "googlenet": ("inception5b", 7),
    "inception_v3": ("Mixed_7c", 8),
    "maxvit_t": ("blocks.3", 7),
    "mnasnet0_5": ("layers", 7),
    "resnext50_32x4d": ("layer4", 7),
    "shufflenet_v2_x0_5": ("conv5", 7),
    "swin_t": ("permute", 7),
    "vit_b_32": ("encoder.layers.encoder_layer_11.ln_1", 7),
}


def preprocessing(size: int = 16) -> Preprocessing:
    return Preprocessing(size, size, mean=(0.5,), std=(0.25,), channels=1)


@pytest.mark.parametrize("name", sorted(file.stem for file in CONF.glob("*.yaml") if file.stem != "torchvision"))
def test_layer_of_every_model_of_conf(name: str) -> None:
    config = load([f"model={name}"]).model
    with torch.device("meta"):  # shapes alone: no weights, no arithmetic
        found = cam_layer(build_backbone(config, 2, None, load_weights=False))
    side = LAYERS[name][1]
    assert (found.name, found.grid) == (LAYERS[name][0], (side, side))
    assert found.tokens == (name == "vit_b_16")


@pytest.mark.parametrize("name", OTHERS)
def test_layer_of_other_torchvision_models(name: str) -> None:
    with torch.device("meta"):
        backbone = torchvision_backbone(TorchvisionConfig(backbone=name, weights=None), 2, load_weights=False)
    found = cam_layer(backbone)
    assert (found.name, found.grid[0]) == OTHERS[name]
    assert found.module is backbone.net.get_submodule(found.name)


def test_regnet() -> None:
    config = TorchvisionConfig(backbone="regnet_y_400mf", weights=None)  # its building needs real tensors
    assert cam_layer(torchvision_backbone(config, 2, 64, load_weights=False)).name == "trunk_output"


def test_grid_follows_the_size_and_shape_of_the_images() -> None:
    with torch.device("meta"):
        backbone = torchvision_backbone(TorchvisionConfig(backbone="resnet18", weights=None), 2, load_weights=False)
    assert cam_layer(backbone, (224, 448)).grid == (7, 14)
    # one pixel would be no map, so where images are tiny it is the layer before
    assert (cam_layer(backbone, (32, 32)).name, cam_layer(backbone, (32, 32)).grid) == ("layer3", (2, 2))


def test_a_module_that_is_called_twice_is_not_the_layer() -> None:
    """Its hook would see two outputs."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.act = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.ReLU()
            self.head = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.act(self.second(self.act(self.first(x))))
            out: Tensor = self.head(x.mean(dim=(2, 3)))
            return out

    assert cam_layer(Backbone(Shared(), preprocessing())).name == "second"


def test_a_network_without_maps_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 2))
    with pytest.raises(RequestError, match="no Grad-CAM"):
        cam_layer(Backbone(net, preprocessing()))


def modes(module: nn.Module) -> Sequence[bool]:
    return [part.training for part in module.modules()]


def test_nothing_is_left_behind() -> None:
    backbone = small_cnn(SmallCNNConfig(widths=(4, 8), dropout=0.5), 2, 16).train()
    backbone.net.blocks.eval()
    before, state = modes(backbone), {name: value.clone() for name, value in backbone.state_dict().items()}
    cam_layer(backbone)
    assert modes(backbone) == before
    assert all(torch.equal(value, state[name]) for name, value in backbone.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in backbone.modules())
    with pytest.raises(ZeroDivisionError), evaluating(backbone):
        assert not any(modes(backbone))
        raise ZeroDivisionError
    assert modes(backbone) == before
