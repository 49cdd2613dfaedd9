"""Grad-CAM: which parts of an image speak for a class, and whether that depends on what the model has learned."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from medimg.data.preprocessing import Preprocessing
from medimg.models.backbone import Backbone
from medimg.models.cam import CamLayer, cam_layer, evaluating
from medimg.models.classifier import ImageClassifier


def class_maps(classifier: ImageClassifier, images: Tensor, targets: Tensor | Sequence[int]) -> Tensor:
    """Grad-CAM maps (Selvaraju et al., 2017) of the logits of `targets`, at the layer that `cam_layer` gives.

    The classifier is used in eval mode and left as it was, frozen or not; no gradient is kept.

    Args:
        classifier: on any device.
        images: [B, C, H, W], 8-bit or in 0..1, as the classifier takes them.
        targets: the class of each image, [B].

    Returns:
        float32 [B, H, W] on the images' device. Each map's largest value is 1; a map that is zero everywhere, where
        nothing speaks for the class, stays zero.
    """
    from captum.attr import LayerAttribution

    coarse = _signed(classifier.backbone, classifier.preprocessing, images, targets).relu()
    size = (images.shape[-2], images.shape[-1])
    maps: Tensor = LayerAttribution.interpolate(coarse, size, interpolate_mode="bilinear").squeeze(1)
    highest = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(highest > 0, maps / highest, 0.0)


def randomised_similarity(
    classifier: ImageClassifier, images: Tensor, targets: Tensor | Sequence[int], seed: int = 0
) -> NDArray[np.float64]:
    """How alike each map is to that of the same network with random weights: the sanity check of Adebayo et al. (2018).

    A map that does not change, so whose similarity is near 1, shows the image and not what the model has learned.

    Args:
        classifier: left as it is; a copy is randomised.
        images: as for `class_maps`.
        targets: as for `class_maps`.
        seed: of the random weights, He initialisation (He et al., 2015) of every layer.

    Returns:
        Spearman's rank correlation of the two maps of each image, [B], over the layer's own grid. What speaks against
        the class counts as negative: cut off, it would leave many random maps empty. NaN where a map is constant.
    """
    from scipy.stats import spearmanr

    random = copy.deepcopy(classifier.backbone)
    _randomise(random, seed)
    learned, unlearned = (
        _signed(backbone, classifier.preprocessing, images, targets).flatten(1).cpu().numpy()
        for backbone in (classifier.backbone, random)
    )
    return np.array(
        [
            np.nan if np.ptp(a) == 0 or np.ptp(b) == 0 else spearmanr(a, b).statistic
            for a, b in zip(learned, unlearned, strict=True)
        ]
    )


def _signed(
    backbone: Backbone, preprocessing: Preprocessing, images: Tensor, targets: Tensor | Sequence[int]
) -> Tensor:
    """Grad-CAM before its ReLU, float32 [B, 1, *grid of the layer]: above zero for the class, below against it."""
    from captum.attr import LayerGradCam

    layer = cam_layer(backbone, (images.shape[-2], images.shape[-1]))
    # tensors made in inference mode, as Lightning's predictions are, cannot take part in gradients
    with torch.inference_mode(False), evaluating(backbone), _tapped(layer) as tap:
        normalised = preprocessing.normalise(preprocessing.to_unit(images.clone()))
        wanted = torch.as_tensor(targets, device=images.device).clone()
        coarse: Tensor = LayerGradCam(backbone, tap).attribute(normalised, wanted)
    return coarse.detach().float()


@contextmanager
def _tapped(layer: CamLayer) -> Iterator[nn.Module]:
    """A module that the layer's output goes through as [B, D, h, w], whatever its shape in the network is."""
    tap = nn.Identity()
    count = layer.grid[0] * layer.grid[1]

    def as_map(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        mapped: Tensor = tap(output)
        return mapped

    def as_tokens(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        grid: Tensor = tap(output[:, -count:].transpose(1, 2).reshape(len(output), -1, *layer.grid))
        return torch.cat([output[:, :-count], grid.flatten(2).transpose(1, 2)], dim=1)

    hook: Callable[[nn.Module, object, Tensor], Tensor] = as_tokens if layer.tokens else as_map
    handle = layer.module.register_forward_hook(hook)
    try:
        yield tap
    finally:
        handle.remove()


def _randomise(net: nn.Module, seed: int) -> None:
    """Weights as none of them had learned anything, on a scale that leaves the signal as strong as it was."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if parameter.ndim >= 2:
                drawn = torch.empty(parameter.shape)
                parameter.copy_(nn.init.kaiming_normal_(drawn, generator=generator))
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
        for name, buffer in net.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.fill_(0.0 if name.endswith("mean") else 1.0)
