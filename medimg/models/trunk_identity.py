"""What tells one trunk from another that makes other features of the same image."""

import inspect
from collections.abc import Iterable
from pathlib import Path

from torch import nn

from medimg.data.cache.digests import code_digest
from medimg.models.backbone import Backbone, head_names
from medimg.models.trunk import trunk_digest, trunk_state


def trunk_identity(backbone: Backbone) -> list[object]:
    """Weights, layers with their settings, and code that is not torch's, in plain containers."""
    head = tuple(f"{name}." for name in head_names(backbone.net))
    layers = [(name, layer) for name, layer in backbone.net.named_modules() if not f"{name}.".startswith(head)]
    structure = [f"{name} {type(layer).__qualname__} {layer.extra_repr()}" for name, layer in layers]
    code = code_digest(*_sources([backbone, *(layer for _, layer in layers)]))
    return [trunk_digest(trunk_state(backbone)), structure, code]


def _sources(modules: Iterable[nn.Module]) -> list[Path]:
    """The files of their classes; those of torch and torchvision have versions."""
    own = {type(one) for one in modules if type(one).__module__.partition(".")[0] not in {"torch", "torchvision"}}
    return sorted({Path(file) for kind in own if (file := inspect.getsourcefile(kind)) is not None})
