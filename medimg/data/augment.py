"""Augmentation of a batch on its device, with parameters that depend on (seed, epoch, sample) alone."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from medimg.config.augment import AugmentConfig
from medimg.randomness import Stream, derive_seed, uniform

# The columns that are drawn for each sample. All are drawn always, so that switching one variation on leaves the
# others as they were.
_ROTATE, _ZOOM, _SHIFT_X, _SHIFT_Y, _SHEAR, _FLIP_X, _FLIP_Y, _BRIGHTNESS, _CONTRAST, _NOISE = range(10)


def augment(images: Tensor, samples: Tensor, config: AugmentConfig, seed: int, epoch: int) -> Tensor:
    """Vary each image in its own way: moved and turned first, then brightness, contrast and noise, then cut to 0..1.

    The result for a sample is the same in whatever batch it comes: bit for bit on the CPU.

    Args:
        images: float [B, C, H, W] in 0..1, before normalisation; left unchanged.
        samples: integer [B], what tells the images apart: their positions in the manifest.
        config: the ranges; where all are zero, `images` itself comes back.
        seed: the training seed.
        epoch: parameters are drawn anew for each epoch, or come again after `config.views` of them.

    Returns:
        [B, C, H, W], of the same dtype and on the same device.
    """
    if not images.is_floating_point():
        raise TypeError(f"augment needs values in 0..1, not {images.dtype}: call Preprocessing.to_unit first")
    if not config.varies:
        return images
    if config.views is not None:
        epoch %= config.views
    numbers: list[int] = samples.tolist()  # on the host already, where they come in a Batch
    draws = uniform(derive_seed(seed, Stream.AUGMENT), epoch, numbers, 10)
    if any((config.rotate, config.zoom, config.translate, config.shear, config.horizontal_flip, config.vertical_flip)):
        height, width = images.shape[-2:]
        images = _warp(images, [_inverse_affine(row, config, width / height) for row in draws.tolist()])
    if config.brightness or config.contrast:
        images = _relight(images, draws, config)
    if config.noise:
        deviation = _per_image(config.noise * draws[:, _NOISE], images)
        images = images + deviation * _noise(images, [derive_seed(seed, Stream.NOISE, epoch, n) for n in numbers])
    return images.clamp_(0, 1)  # in place: by now it is a tensor of our own


def _inverse_affine(draw: Sequence[float], config: AugmentConfig, aspect: float) -> list[float]:
    """The first two rows of the matrix from a place in the result to its source, both in -1..1 along each side.

    Forward: flip, shear, zoom, rotate, move. `aspect` is width / height: angles are angles between pixels, so an
    oblong image is turned without being skewed.
    """
    angle = math.radians(config.rotate * _either_side(draw[_ROTATE]))
    shear = math.tan(math.radians(config.shear * _either_side(draw[_SHEAR])))
    zoom = 1 + config.zoom * _either_side(draw[_ZOOM])
    flip_x = (-1 if draw[_FLIP_X] < config.horizontal_flip else 1) / zoom
    flip_y = (-1 if draw[_FLIP_Y] < config.vertical_flip else 1) / zoom
    cos, sin = math.cos(angle), math.sin(angle)
    xx, xy = flip_x * (cos + shear * sin), flip_x * (sin - shear * cos) / aspect
    yx, yy = flip_y * -sin * aspect, flip_y * cos
    # Sides are 2 long in these coordinates, so a share of the image counts twice.
    move_x = 2 * config.translate * _either_side(draw[_SHIFT_X])
    move_y = 2 * config.translate * _either_side(draw[_SHIFT_Y])
    return [xx, xy, -(xx * move_x + xy * move_y), yx, yy, -(yx * move_x + yy * move_y)]


def _either_side(draw: float) -> float:
    return 2 * draw - 1


def _warp(images: Tensor, matrices: list[list[float]]) -> Tensor:
    """Bilinear, with black (0) from outside the image: what lies around a chest in CT slices and X-rays."""
    height, width = images.shape[-2:]
    theta = _beside(images, torch.tensor(matrices)).view(-1, 6, 1, 1)
    x = ((torch.arange(width, device=images.device) * 2 + 1) / width - 1).view(1, 1, width)
    y = ((torch.arange(height, device=images.device) * 2 + 1) / height - 1).view(1, height, 1)
    # Written out, because the matrix product in F.affine_grid may round in another way for another batch size.
    grid_x = theta[:, 0] * x + (theta[:, 1] * y + theta[:, 2])
    grid_y = theta[:, 3] * x + (theta[:, 4] * y + theta[:, 5])
    grid = torch.stack((grid_x, grid_y), dim=-1)
    warped = F.grid_sample(images.to(grid.dtype), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return warped.to(images.dtype)


def _relight(images: Tensor, draws: NDArray[np.float64], config: AugmentConfig) -> Tensor:
    """Brightness is a factor; contrast then stretches about the image's own mean."""
    brightness = _per_image(1 + config.brightness * (2 * draws[:, _BRIGHTNESS] - 1), images)
    contrast = _per_image(1 + config.contrast * (2 * draws[:, _CONTRAST] - 1), images)
    return (images * (brightness * contrast)).add_(_mean(images) * (brightness * (1 - contrast)))


def _mean(images: Tensor) -> Tensor:
    """The mean of each image, [B, 1, 1, 1].

    By rows first: in one go, a single image would be summed in parts by several threads, a batch would not, and the
    two differ in the last bit.
    """
    return images.mean(dim=-1).flatten(1).mean(dim=-1).view(-1, 1, 1, 1)


def _noise(images: Tensor, seeds: list[int]) -> Tensor:
    """Standard normal noise, [B, 1, H, W]: the same in all channels, so that a grey image stays grey."""
    noise = torch.empty_like(images[:, :1])
    generator = torch.Generator(images.device)
    for plane, seed in zip(noise, seeds, strict=True):
        plane.normal_(generator=generator.manual_seed(seed))
    return noise


def _per_image(values: NDArray[np.float64], images: Tensor) -> Tensor:
    return _beside(images, torch.tensor(values.tolist(), dtype=images.dtype)).view(-1, 1, 1, 1)


def _beside(images: Tensor, values: Tensor) -> Tensor:
    """Values from the host on the images' device; pinned, since the host would wait for a GPU to fetch them else."""
    return values.pin_memory().to(images.device, non_blocking=True) if images.is_cuda else values.to(images.device)
