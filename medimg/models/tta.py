"""Test-time augmentation: what a model says of an image and of varied views of it, averaged."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from medimg.config.augment import AugmentConfig
from medimg.data.augment import augment
from medimg.data.preprocessing import Preprocessing
from medimg.randomness import Stream, derive_seed


def averaged_logits(
    forward: Callable[[Tensor], Tensor],
    images: Tensor,
    index: Tensor,
    config: AugmentConfig,
    views: int,
    seed: int,
) -> Tensor:
    """The logarithm of the mean of probabilities over the plain image and `views` varied ones.

    Its softmax is that mean. How a view is varied is a function of (seed, view, index) alone, whatever the batch.

    Args:
        forward: from images to logits [B, K].
        images: [B, C, H, W], 8-bit or in 0..1, before normalisation.
        index: integer [B], what tells the images apart: their positions in a manifest or a list.
        config: the ranges of variation.
        views: how many, at least 1.
        seed: of all views.

    Returns:
        float64 [B, K], on the CPU.
    """
    if views < 1:
        raise ValueError(f"views={views}: at least one is needed")
    plain = Preprocessing.to_unit(images)
    own = derive_seed(seed, Stream.VIEWS)
    total = log_probabilities(forward(plain))
    for view in range(views):  # one at a time, for memory
        varied = augment(plain, index, config, own, view)
        total = torch.logaddexp(total, log_probabilities(forward(varied)))
    return total - math.log(views + 1)


def log_probabilities(logits: Tensor) -> Tensor:
    """The logarithm of the softmax, float64 on the CPU: not every accelerator has 64 bits."""
    return torch.log_softmax(logits.cpu().double(), dim=1)


@dataclass(frozen=True)
class TestTimeAugmentation:
    """How a trained model looks at each image more than once."""

    config: AugmentConfig
    views: int
    seed: int

    @property
    def name(self) -> str:
        """For the names of folders: other settings, another name."""
        mark = hashlib.sha256(repr((self.config, self.seed)).encode()).hexdigest()[:8]
        return f"tta-{self.views}-{mark}"

    def logits(self, forward: Callable[[Tensor], Tensor], images: Tensor, index: Tensor) -> Tensor:
        """See `averaged_logits`."""
        return averaged_logits(forward, images, index, self.config, self.views, self.seed)
