"""Any torchvision classification model as a backbone."""

from collections.abc import Sequence
from typing import Any

import torchvision
from torch import nn

from medimg.config.model import TorchvisionConfig
from medimg.data.preprocessing import Preprocessing
from medimg.errors import RequestError, nearest
from medimg.models.backbone import Backbone, replace_head, resolve_size, to_one_channel
from medimg.models.weights import Source, load_state, resolve_weights

# Two models whose pretrained networks, in torchvision, turn ImageNet's mean and deviation into these ones first thing.
_HALF_RANGE = ("googlenet", "inception_v3")


def torchvision_backbone(
    config: TorchvisionConfig,
    num_classes: int,
    image_size: int | Sequence[int] | None = None,
    load_weights: bool = True,
) -> Backbone:
    """Build a torchvision model with a new head, the weights asked for, and no auxiliary heads.

    Args:
        config: which model, weights, input channels, dropout and freezing.
        num_classes: outputs of the new head.
        image_size: pixels, one number or (height, width); None: what the weights were trained with.
        load_weights: False leaves random weights, for a checkpoint that fills them all.

    Raises:
        RequestError: no such model or weights, a size that the model cannot take, or weights that cannot be had.
    """
    name = config.backbone
    _check_name(name)
    source = resolve_weights(config.weights, name)
    preprocessing = _preprocessing(name, source, image_size)
    _check_size(name, preprocessing)
    net = _build(name, preprocessing)
    if load_weights and source is not None:
        load_state(net, source, name)
    replace_head(net, num_classes, config.dropout)
    if config.in_channels == 1:
        preprocessing = to_one_channel(net, preprocessing)
    return Backbone(net, preprocessing, freeze=config.freeze)


def _check_name(name: str) -> None:
    names: list[str] = torchvision.models.list_models(module=torchvision.models)
    if name in names:
        return
    near = nearest(name, names)
    raise RequestError(
        f"model.backbone: torchvision has no classification model {name!r}.\n"
        + (f"The nearest names: {', '.join(near)}." if near else f"It has: {', '.join(names)}.")
    )


def _preprocessing(name: str, source: Source | None, image_size: int | Sequence[int] | None) -> Preprocessing:
    members = torchvision.models.get_model_weights(name)
    usual = getattr(members, "IMAGENET1K_V1", members.DEFAULT)
    preset = (source if isinstance(source, members) else usual).transforms()
    height, width = resolve_size(image_size, preset.crop_size[0])
    if name in _HALF_RANGE:
        return Preprocessing(height, width, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), channels=3)
    return Preprocessing(height, width, mean=tuple(preset.mean), std=tuple(preset.std), channels=3)


def _check_size(name: str, size: Preprocessing) -> None:
    """Refuse what would fail later, in the middle of a forward pass, with an error about tensor shapes."""
    found = f"data.image_size: {name} cannot take images of {size.height}x{size.width} pixels"
    if name.startswith("vit"):
        patch = _patch_size(name)
        if size.height != size.width or size.height % patch:
            raise RequestError(f"{found}.\nThey must be square, and a multiple of {patch} pixels a side (its patch).")
    elif name.startswith("maxvit"):
        if size.height % 224 or size.width % 224:
            raise RequestError(f"{found}.\nHeight and width must be multiples of 224 (its windows).")
    elif not name.startswith("swin"):  # these pad whatever they get
        smallest = torchvision.models.get_model_weights(name).DEFAULT.meta["min_size"]
        if size.height < smallest[0] or size.width < smallest[1]:
            raise RequestError(f"{found}.\nThe smallest that it can take is {smallest[0]}x{smallest[1]}.")


def _build(name: str, size: Preprocessing) -> nn.Module:
    options: dict[str, Any] = {}
    if name.startswith("vit"):
        options["image_size"] = size.height
    elif name.startswith("maxvit"):
        options["input_size"] = (size.height, size.width)
    elif name in _HALF_RANGE:
        options.update(aux_logits=False, init_weights=True)
    net: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return net


def _patch_size(name: str) -> int:
    return int(name.rpartition("_")[2])
