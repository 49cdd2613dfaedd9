"""A frozen trunk as what it is: tensors by name that never change, known by a digest."""

import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from medimg.data.cache.digests import code_digest
from medimg.models.backbone import Backbone, head_names


def trunk_state(backbone: Backbone) -> dict[str, Tensor]:
    """Parameters and buffers of the trunk, by their names in `backbone.net`; the tensors are the network's own."""
    head = tuple(f"{name}." for name in head_names(backbone.net))
    return {name: value for name, value in backbone.net.state_dict().items() if not name.startswith(head)}


def trunk_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 as hex, over names, dtypes, shapes and values; order, device and memory layout do not matter."""
    digest = hashlib.sha256()
    for name, value in sorted(state.items()):
        digest.update(repr((name, str(value.dtype), tuple(value.shape))).encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def trunk_identity(backbone: Backbone) -> list[object]:
    """What tells trunks apart: weights, layers with their settings, and code that is not torch's."""
    head = tuple(f"{name}." for name in head_names(backbone.net))
    layers = [(name, layer) for name, layer in backbone.net.named_modules() if not f"{name}.".startswith(head)]
    structure = [f"{name} {type(layer).__qualname__} {layer.extra_repr()}" for name, layer in layers]
    code = code_digest(*_sources([backbone, *(layer for _, layer in layers)]))
    return [trunk_digest(trunk_state(backbone)), structure, code]


def _sources(modules: list[nn.Module]) -> list[Path]:
    """The files of their classes; those of torch and torchvision have versions."""
    own = {type(one) for one in modules if type(one).__module__.partition(".")[0] not in {"torch", "torchvision"}}
    return sorted({Path(file) for kind in own if (file := inspect.getsourcefile(kind)) is not None})
