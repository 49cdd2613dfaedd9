"""Backbones, small networks, losses, schedules and the classifier; each is imported when it is first asked for."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medimg.models.backbone import Backbone
    from medimg.models.classifier import ImageClassifier
    from medimg.models.cnn import small_cnn
    from medimg.models.losses import FocalLoss
    from medimg.models.schedules import cosine_with_warmup
    from medimg.models.torchvision_models import torchvision_backbone

__all__ = [
    "Backbone",
    "FocalLoss",
    "ImageClassifier",
    "cosine_with_warmup",
    "small_cnn",
    "torchvision_backbone",
]

# No module may bear the name of something that it exports: importing it would put the module in that name's place.
_MODULES = {
    "Backbone": "backbone",
    "FocalLoss": "losses",
    "ImageClassifier": "classifier",
    "cosine_with_warmup": "schedules",
    "small_cnn": "cnn",
    "torchvision_backbone": "torchvision_models",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
