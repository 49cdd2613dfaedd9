"""What tells one trunk from another that makes other features of the same image."""

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from medimg.data.cache.digests import code_digest
from medimg.models.backbone import Backbone, head_names
from medimg.models.trunk import trunk_of

_NOT_OF_THE_TRUNK = ("weights", "init_from", "dropout")  # the weights themselves count, wherever they came from


def trunk_identity(backbone: Backbone, model: Mapping[str, Any]) -> list[object] | None:
    """Weights, layers with their settings, code that is not torch's, and the configuration, in plain containers.

    Functions that a module of the user's own calls in other files are not seen. None where there is no file of the
    code, as for a class that was written in a notebook.

    Args:
        backbone: with its trunk.
        model: its configuration, in plain containers.
    """
    head = tuple(f"{name}." for name in head_names(backbone.net))
    layers = [(name, layer) for name, layer in backbone.net.named_modules() if not f"{name}.".startswith(head)]
    structure = [f"{name} {type(layer).__qualname__} {layer.extra_repr()}" for name, layer in layers]
    try:
        code = code_digest(*_sources([backbone, *(layer for _, layer in layers)]))
    except (OSError, TypeError):
        return None
    settings = {name: value for name, value in model.items() if name not in _NOT_OF_THE_TRUNK}
    return [trunk_of(backbone).digest, structure, code, settings]


def _sources(modules: Iterable[nn.Module]) -> list[Path]:
    """The files of their classes; those of torch and torchvision have versions."""
    own = {type(one) for one in modules if type(one).__module__.partition(".")[0] not in {"torch", "torchvision"}}
    return sorted({Path(file) for kind in own if (file := inspect.getsourcefile(kind)) is not None})
