"""From a source of images to batches: manifest, splits, readers, batches. The names below are the public ones."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medimg.data.datamodule import (
        CovidPhantomDataModule,
        CovidXrayDataModule,
        CTDataModule,
        CTPhantomDataModule,
        ImageDataModule,
        ImageFolderDataModule,
        ManifestDataModule,
        MedMNISTDataModule,
    )

__all__ = [
    "CTDataModule",
    "CTPhantomDataModule",
    "CovidPhantomDataModule",
    "CovidXrayDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "ManifestDataModule",
    "MedMNISTDataModule",
]


def __getattr__(name: str) -> Any:
    """Loads torch and Lightning only when a data module is asked for; the manifest needs neither."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from medimg.data import datamodule

    return getattr(datamodule, name)
