"""Which layer of a network Grad-CAM looks at: found by one rule for all architectures, by running it once."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from medimg.errors import RequestError
from medimg.models.backbone import Backbone, head_names

_POOLING = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d)


@dataclass(frozen=True)
class CamLayer:
    """A layer whose output is a map of the image.

    Attributes:
        name: in the state dict of the network.
        module: the layer itself.
        grid: rows and columns of the map.
        tokens: its output is [B, tokens, D], the last of which are the grid's, row by row; else it is [B, D, *grid].
    """

    name: str
    module: nn.Module
    grid: tuple[int, int]
    tokens: bool = False


def cam_layer(backbone: Backbone, size: tuple[int, int] | None = None) -> CamLayer:
    """The last layer whose output is a map, after which there is only pooling, flattening and the head.

    It is found in a forward pass of a black image: of all modules that are called once, the one that ends last with an
    output [1, D, h, w] of more than one pixel, and is no pooling. In a Sequential that is the Sequential itself, unless
    it ends in a pooling layer. Of a transformer with `nn.MultiheadAttention` it is the layer whose output goes into the
    last attention: behind that, a class token's logits depend on no other token.

    Args:
        backbone: any; its mode and gradients are left as they are.
        size: height and width of the images; None: those of its preprocessing.

    Raises:
        RequestError: no layer has such an output.
    """
    expected = backbone.preprocessing
    height, width = size or (expected.height, expected.width)
    parameter = next(backbone.parameters())
    black = torch.zeros(1, expected.channels, height, width, dtype=parameter.dtype, device=parameter.device)
    trace = _Trace((height, width), head_names(backbone.net))
    with evaluating(backbone), trace.following(backbone.net), torch.no_grad():
        backbone(black)
    return trace.layer(type(backbone.net).__name__)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in eval mode, and afterwards every part of it in the mode that it had."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


class _Trace:
    """Follows a forward pass through a network, and remembers which modules gave maps."""

    def __init__(self, size: tuple[int, int], head: tuple[str, ...]) -> None:
        self._size = size
        self._head = head
        self._calls: Counter[str] = Counter()
        self._maps: list[CamLayer] = []
        self._pooled: Tensor | None = None  # of the last pooling, which modules around it give as theirs
        self._last: tuple[str, nn.Module, Any] | None = None
        self._attended: tuple[str, nn.Module] | None = None

    @contextmanager
    def following(self, net: nn.Module) -> Iterator[None]:
        """Hooks into every module of the network, for as long as this lasts."""
        handles = []
        for name, module in net.named_modules():
            if isinstance(module, nn.MultiheadAttention):
                handles.append(module.register_forward_pre_hook(self._attention))
            if name:
                handles.append(module.register_forward_hook(partial(self._ended, name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def layer(self, network: str) -> CamLayer:
        """The layer that the rule gives."""
        maps = [found for found in self._maps if self._calls[found.name] == 1 and found.name not in self._head]
        if not maps:
            raise RequestError(
                f"{network} has no layer whose output is a map of the image, so no Grad-CAM can be drawn.\n"
                "  networks with convolutions have one, where images are large enough to leave more than one pixel"
            )
        if self._attended is None:
            return maps[-1]
        return CamLayer(*self._attended, grid=maps[-1].grid, tokens=True)  # of the convolution that makes patches

    def _ended(self, name: str, module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
        self._calls[name] += 1
        self._last = (name, module, output)
        if isinstance(module, _POOLING):
            self._pooled = output
        elif output is not self._pooled and self._is_map(output):
            self._maps.append(CamLayer(name, module, grid=(output.shape[2], output.shape[3])))

    def _attention(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        name, module, output = self._last or ("", nn.Identity(), None)
        if inputs and inputs[0] is output:
            self._attended = (name, module)

    def _is_map(self, output: Any) -> bool:
        """One map a channel: [1, D, h, w], no larger than the image, as [1, h, w, D] often is."""
        if not isinstance(output, Tensor) or output.ndim != 4:
            return False
        height, width = output.shape[2:]
        return height * width > 1 and height <= self._size[0] and width <= self._size[1]
