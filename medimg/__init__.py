"""medimg: experiments in medical image classification with PyTorch Lightning and Hydra. Not for clinical use.

The names below are the public ones; they load torch only when they are asked for. `medimg.config` holds the typed
configurations that they take.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medimg.api import load_config, train
    from medimg.data.datamodule import (
        CovidPhantomDataModule,
        CovidXrayDataModule,
        CTDataModule,
        CTPhantomDataModule,
        ImageFolderDataModule,
        ManifestDataModule,
        MedMNISTDataModule,
    )
    from medimg.models.classifier import ImageClassifier
    from medimg.runs import RunFolder

__all__ = [
    "CTDataModule",
    "CTPhantomDataModule",
    "CovidPhantomDataModule",
    "CovidXrayDataModule",
    "ImageClassifier",
    "ImageFolderDataModule",
    "ManifestDataModule",
    "MedMNISTDataModule",
    "RunFolder",
    "load_config",
    "train",
]

_MODULES = {"ImageClassifier": "models", "RunFolder": "runs", "load_config": "api", "train": "api"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"medimg.{_MODULES.get(name, 'data')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
