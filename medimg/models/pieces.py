"""Runs a network over a few images at a time, so that what it computes stays in the caches of a processor."""

from collections.abc import Callable

import torch
from torch import Tensor

_VALUES = 8 * 3 * 224 * 224  # of the images of a piece; benchmarks/pieces.py


def in_pieces(run: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What `run` makes of images [B, C, H, W], one result an image, on a processor in pieces of eight of 224 pixels.

    For networks in eval mode and without gradients alone: there an image's result does not depend on its batch.
    """
    if images.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_compiling():
        return run(images)
    number = piece_size(images)
    if len(images) <= number:
        return run(images)
    return torch.cat([run(piece) for piece in torch.split(images, number)])


def piece_size(images: Tensor) -> int:
    """How many images a piece has, a power of two: eight of 224 pixels, one from 448 pixels on."""
    values = images[0].numel() if len(images) else 1
    return 1 << max(0, (_VALUES // values).bit_length() - 1)
