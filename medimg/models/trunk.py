"""A frozen trunk as what it is: tensors by name that never change, known by a digest."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

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
