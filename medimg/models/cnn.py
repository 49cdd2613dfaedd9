"""A small convolutional network, for small images and quick answers."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

from torch import nn

from medimg.config.model import SmallCNNConfig
from medimg.data.preprocessing import Preprocessing
from medimg.errors import RequestError
from medimg.models.backbone import Backbone, resolve_size

DEFAULT_SIZE = 64


def small_cnn(
    config: SmallCNNConfig,
    num_classes: int,
    image_size: int | Sequence[int] | None = None,
    load_weights: bool = True,
) -> Backbone:
    """Build blocks of convolution, ReLU and max-pool 2, then the mean or all pixels, then linear layers.

    Args:
        config: widths, convolutions, what follows them, input channels.
        num_classes: outputs.
        image_size: pixels, one number or (height, width); None: 64.
        load_weights: of no effect, since there are no weights to load; all model builders have it.

    Raises:
        RequestError: nothing would be left of so small an image after the blocks.
    """
    height, width = resolve_size(image_size, DEFAULT_SIZE)
    rows, columns = _left_of(height, config), _left_of(width, config)
    if rows < 1 or columns < 1:
        smallest = _smallest(config)
        raise RequestError(
            f"data.image_size: {height}x{width} pixels are too few for {len(config.widths)} blocks (model.widths).\n"
            f"The smallest image that they can take is {smallest}x{smallest}; or use fewer blocks, or more padding."
        )
    pixels = 1 if config.pool == "average" else rows * columns
    net = nn.Sequential(
        OrderedDict(
            blocks=_blocks(config),
            pool=nn.AdaptiveAvgPool2d(1) if config.pool == "average" else nn.Identity(),
            flatten=nn.Flatten(),
            classifier=_classifier(config, config.widths[-1] * pixels, num_classes),
        )
    )
    return Backbone(net, _preprocessing(height, width, config.in_channels))


def _preprocessing(height: int, width: int, channels: Literal[1, 3]) -> Preprocessing:
    # There are no pretrained weights to match: 0.5 and 0.25 only bring values of 0..1 to about mean 0 and deviation 1.
    return Preprocessing(height, width, mean=(0.5,) * channels, std=(0.25,) * channels, channels=channels)


def _blocks(config: SmallCNNConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels: int = config.in_channels
    for width in config.widths:
        layers.append(nn.Conv2d(channels, width, config.kernel_size, padding=config.padding))
        if config.batch_norm:
            layers.append(nn.BatchNorm2d(width))
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        channels = width
    return nn.Sequential(*layers)


def _classifier(config: SmallCNNConfig, features: int, num_classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    if config.hidden is not None:
        layers += [nn.Linear(features, config.hidden), nn.ReLU()]
        features = config.hidden
    if config.dropout:
        layers.append(nn.Dropout(config.dropout))
    return nn.Sequential(*layers, nn.Linear(features, num_classes))


def _left_of(pixels: int, config: SmallCNNConfig) -> int:
    """Pixels a side after the blocks; below 1 where nothing is left."""
    for _ in config.widths:
        pixels = (pixels + 2 * config.padding - config.kernel_size + 1) // 2
        if pixels < 1:
            break
    return pixels


def _smallest(config: SmallCNNConfig) -> int:
    """Pixels a side of the smallest image of which one pixel is left."""
    pixels = 1
    for _ in config.widths:
        pixels = max(1, 2 * pixels + config.kernel_size - 1 - 2 * config.padding)
    return pixels
