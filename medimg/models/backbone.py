"""A network as trunk and head: one way to find, replace, freeze and split, whatever the architecture."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NoReturn, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medimg.data.preprocessing import Preprocessing
from medimg.errors import RequestError
from medimg.models.pieces import in_pieces

Freeze = bool | Literal["params"]


class Backbone(nn.Module):
    """A whole network with the preprocessing that it expects, seen as a trunk and a head.

    The head is the last linear (or 1x1 convolution) layer with the dropout directly before it and, in a Sequential,
    what follows it; the trunk is all before that. The network is kept whole, so its state dict has the keys that it
    has without this class.

    Args:
        net: maps images to logits; see `replace_head`.
        preprocessing: size, channels and normalisation of its input.
        freeze: True: the head alone is trained, and the trunk stays in eval mode whatever `train` is told, so its
            features of an image never change. "params": the head alone is trained, but the trunk follows `train`, so
            BatchNorm statistics move and dropout drops.
    """

    def __init__(self, net: nn.Module, preprocessing: Preprocessing, freeze: Freeze = False) -> None:
        super().__init__()
        self.net = net
        self.preprocessing = preprocessing
        self.freeze = freeze
        self.memory_format = torch.contiguous_format
        self._head_names = head_names(net)
        if freeze:
            net.requires_grad_(False)
            self.head.requires_grad_(True)
        self.train(self.training)

    @property
    def head(self) -> nn.Sequential:
        """The head's own modules, not copies: `head(features(x)).flatten(1)` is `forward(x)` in eval mode."""
        modules = [self.net.get_submodule(name) for name in self._head_names]
        view = nn.Sequential(*modules)
        view.training = modules[0].training
        return view

    def lay_out(self, memory_format: torch.memory_format) -> Self:
        """Keep weights, and take images, in this memory format: a matter of speed, and of the last bit of results.

        Names, shapes and values of the state dict stay as they are.
        """
        self.memory_format = memory_format
        self.net.to(memory_format=memory_format)
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, classes] of normalised images [B, C, H, W]."""
        return self._over(images, self.net)

    def features(self, images: Tensor) -> Tensor:
        """What reaches the head: [B, D], or [B, D, h, w] where the head is a convolution. The head does not run."""
        return self._over(images, self._trunk)

    def train(self, mode: bool = True) -> Self:
        """Switch to train or eval mode; the trunk stays in eval mode where `freeze` is True."""
        super().train(mode)
        if self.freeze is True:
            self.net.eval()
            self.head.train(mode)
        return self

    def _over(self, images: Tensor, run: Callable[[Tensor], Tensor]) -> Tensor:
        images = images.contiguous(memory_format=self.memory_format)
        return run(images) if self.net.training else in_pieces(run, images)

    def _trunk(self, images: Tensor) -> Tensor:
        first = self.net.get_submodule(self._head_names[0])
        handle = first.register_forward_pre_hook(_stop, prepend=True)
        try:
            self.net(images)
        except _HeadReached as reached:
            found = reached.features
        else:
            raise RuntimeError(f"{type(self.net).__name__} never called its last layer, {self._head_names[0]!r}")
        finally:
            handle.remove()
        # Inception flattens between dropout and linear layer, so features may still be [B, D, 1, 1].
        return found.flatten(1) if any(isinstance(module, nn.Linear) for module in self.head) else found


def head_names(net: nn.Module) -> tuple[str, ...]:
    """The dotted names of the head's modules in `net`, in the order in which they are called."""
    parent_name, child_name = _head_layer(net).rpartition(".")[::2]
    parent = net.get_submodule(parent_name)
    names = [name for name, _ in parent.named_children()]
    at = names.index(child_name)
    start = at - 1 if at > 0 and isinstance(parent.get_submodule(names[at - 1]), nn.Dropout) else at
    # In a Sequential, what comes after is called after (squeezenet: ReLU and average pool); elsewhere nobody knows.
    end = len(names) if isinstance(parent, nn.Sequential) else at + 1
    return tuple(f"{parent_name}.{name}" if parent_name else name for name in names[start:end])


def replace_head(net: nn.Module, num_classes: int, dropout: float | None = None) -> None:
    """Put a new last layer for `num_classes` into `net`, in place of the old one, freshly initialised.

    Args:
        net: changed in place.
        num_classes: outputs of the new layer.
        dropout: probability of the dropout before it; None keeps what the architecture has.

    Raises:
        RequestError: `net` has no linear and no 1x1 convolution layer.
    """
    name = _head_layer(net)
    layer = _new_layer(net.get_submodule(name), num_classes)
    net.set_submodule(name, layer)
    first = net.get_submodule(head_names(net)[0])
    if isinstance(first, nn.Dropout):
        first.p = first.p if dropout is None else dropout
        first.inplace = False  # in place, it would overwrite features that are kept for later epochs
    elif dropout:
        # A hook and no new module: a module would shift the names of the state dict.
        layer.register_forward_pre_hook(partial(_drop, dropout))


def to_one_channel(net: nn.Module, preprocessing: Preprocessing) -> Preprocessing:
    """Make the first convolution of `net` take one channel, in place; the preprocessing for it is returned.

    The kernel is the sum over the three input channels: a grey image gives what it gives repeated to three channels,
    where these are normalised alike.
    """
    name, old = next((name, module) for name, module in net.named_modules() if isinstance(module, nn.Conv2d))
    new = nn.Conv2d(
        1,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
        padding_mode=old.padding_mode,
    )
    with torch.no_grad():
        new.weight.copy_(old.weight.sum(dim=1, keepdim=True))
        if new.bias is not None and old.bias is not None:
            new.bias.copy_(old.bias)
    net.set_submodule(name, new)
    return replace(preprocessing, mean=(_average(preprocessing.mean),), std=(_average(preprocessing.std),), channels=1)


def resolve_size(image_size: int | Sequence[int] | None, default: int) -> tuple[int, int]:
    """Height and width in pixels; one number stands for both."""
    if image_size is None:
        return default, default
    if isinstance(image_size, int):
        return image_size, image_size
    height, width = image_size
    return height, width


class _HeadReached(Exception):  # noqa: N818 - nothing went wrong
    """Carries the head's input out of a forward pass that need not go on."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features


def _stop(_module: nn.Module, inputs: tuple[Any, ...]) -> NoReturn:
    raise _HeadReached(inputs[0])


def _drop(p: float, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
    return (F.dropout(inputs[0], p, layer.training),)


def _head_layer(net: nn.Module) -> str:
    names: list[str] = [name for name, module in net.named_modules() if name and _is_head_layer(module)]
    if not names:
        raise RequestError(
            f"{type(net).__name__} has no linear and no 1x1 convolution layer, so there is no head to replace.\n"
            "Use a classification model whose last layer is one of these."
        )
    return names[-1]


def _is_head_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1))


def _new_layer(old: nn.Module, num_classes: int) -> nn.Linear | nn.Conv2d:
    if isinstance(old, nn.Conv2d):
        return nn.Conv2d(old.in_channels, num_classes, kernel_size=1, bias=old.bias is not None)
    if isinstance(old, nn.Linear):
        return nn.Linear(old.in_features, num_classes, bias=old.bias is not None)
    raise TypeError(f"not a layer for a head: {old}")


def _average(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)
