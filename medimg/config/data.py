"""The `data` group: where the images are, how they are split, and how they are loaded."""

from typing import Annotated, Literal

from msgspec import Meta

from medimg.config.base import BelowOne, Component, NonNegativeInt, PositiveInt, UnitInterval

ImageSize = PositiveInt | Annotated[tuple[PositiveInt, ...], Meta(min_length=2, max_length=2)]

# [-600,1500] is one window; [lung,bone,mediastinum] and [[-600,1500],bone,[40,400]] are three; see config/windows.py
WindowKey = str | tuple[str | float | tuple[float, float], ...]


class DataConfig(Component, frozen=True, kw_only=True):
    """What all data sources have in common."""

    name: Annotated[str, Meta(description="names the data in run folders")] = "data"
    root: Annotated[
        str | None, Meta(description="the folder of images, the CSV of data=manifest, or the .npz of data=medmnist")
    ] = None
    image_size: Annotated[
        ImageSize | None,
        Meta(description="pixels, one number or [height,width]; null: what the backbone was trained on"),
    ] = None
    normalize: Annotated[
        bool,
        Meta(description="subtract the backbone's mean and divide by its standard deviation; false: values in 0..1"),
    ] = True
    batch_size: Annotated[int, Meta(ge=1, description="images a step, on each device")] = 32
    num_workers: Annotated[
        int, Meta(ge=0, description="how many read images: threads, or with cache=none processes; 0: the main one")
    ] = 2
    cache: Annotated[
        Literal["auto", "none", "disk", "memory"],
        Meta(description="where decoded images, and features of a frozen trunk, are kept; auto: where there is room"),
    ] = "auto"
    cache_limit: Annotated[
        float, Meta(gt=0, description="GB that they may take on disk in all; the longest unused go first")
    ] = 50.0
    sampler: Annotated[
        Literal["shuffle", "balanced"],
        Meta(description="order of training images; balanced draws every class equally often"),
    ] = "shuffle"
    val_fraction: Annotated[
        BelowOne, Meta(description="share of train cut off as validation where the source has none; 0: no validation")
    ] = 0.2
    split_seed: Annotated[int, Meta(ge=0, description="seed of the split, apart from the training seed")] = 0
    folds: Annotated[
        Annotated[int, Meta(ge=2)] | None, Meta(description="number of cross-validation folds; null: no folds")
    ] = None
    fold: Annotated[NonNegativeInt | None, Meta(description="which fold is held out as test, from 0")] = None
    patient_regex: Annotated[
        str | None, Meta(description="regular expression on the path; its first group is the patient")
    ] = None
    class_aliases: Annotated[dict[str, str] | None, Meta(description="folder names to classes, as {folder:class}")] = (
        None
    )
    classes: Annotated[
        tuple[str, ...] | None, Meta(description="the classes to expect, in this order; null: those that the data has")
    ] = None
    positive_class: Annotated[str | None, Meta(description="which class of a binary task is the positive one")] = None
    window: Annotated[
        WindowKey | None,
        Meta(description="CT window: lung, mediastinum, bone or [center,width]; three: channels; null: the file's"),
    ] = None
    resize: Annotated[
        Literal["stretch", "fit"],
        Meta(description="how images get their size: stretch, or fit: the sides' ratio is kept, the rest is black"),
    ] = "stretch"
    region: Annotated[
        Literal["whole", "border", "center"],
        Meta(description="a control: border shows the outer eighth of each side alone, center the rest, else black"),
    ] = "whole"
    multiframe: Annotated[
        Literal["refuse", "expand"],
        Meta(description="what to do with DICOM files of several frames: refuse, or expand: an image for each frame"),
    ] = "refuse"
    on_error: Annotated[
        Literal["raise", "skip"],
        Meta(description="images that cannot be read: raise, or skip: all are read beforehand, and bad ones left out"),
    ] = "raise"
    check: Annotated[
        Literal["warn", "strict", "off"],
        Meta(description="the quick part of medimg check before training; strict: severe findings stop the run"),
    ] = "warn"
    group_by: Annotated[
        Literal["near_duplicates", "blocks"] | None,
        Meta(description="what stands in for patients where none is known; null: nothing, each image is by itself"),
    ] = None
    group_threshold: Annotated[
        UnitInterval, Meta(description="group_by=near_duplicates: the largest distance of two near duplicates")
    ] = 0.42
    block_size: Annotated[
        PositiveInt, Meta(description="group_by=blocks: how many consecutive file numbers make a group")
    ] = 20
    allow_patient_overlap: Annotated[
        bool, Meta(description="train although the source's own split has a patient on two sides")
    ] = False


class ImageFolderConfig(DataConfig, frozen=True, kw_only=True, tag="medimg.data.ImageFolderDataModule"):
    """Class folders, with or without `train/`, `val/`, `test/` above them."""

    name: str = "image_folder"


class ManifestConfig(DataConfig, frozen=True, kw_only=True, tag="medimg.data.ManifestDataModule"):
    """A CSV with `path` and `label`, and `split`, `patient_id` and other columns where there are any."""

    name: str = "manifest"


class CTConfig(DataConfig, frozen=True, kw_only=True, tag="medimg.data.CTDataModule"):
    """Chest CT slices of five classes, in class folders."""

    name: str = "ct"
    classes: tuple[str, ...] | None = ("ILD", "Lung_Cancer", "Normal", "pneumonia", "pneumothorax")


class CovidXrayConfig(DataConfig, frozen=True, kw_only=True, tag="medimg.data.CovidXrayDataModule"):
    """Chest X-rays, COVID-19 or normal, in class folders."""

    name: str = "covid"
    classes: tuple[str, ...] | None = ("normal", "covid")
    positive_class: str | None = "covid"


class MedMNISTConfig(DataConfig, frozen=True, kw_only=True, tag="medimg.data.MedMNISTDataModule"):
    """An `.npz` as MedMNIST ships it, with its own splits; or as Keras ships MNIST."""

    name: str = "medmnist"


class PhantomConfig(DataConfig, frozen=True, kw_only=True):
    """Synthetic images, drawn once into the cache folder and then read like any other folder."""

    batch_size: PositiveInt = 16
    num_workers: NonNegativeInt = 0
    patients_per_class: Annotated[PositiveInt, Meta(description="synthetic patients of each class")] = 40
    images_per_patient: Annotated[PositiveInt, Meta(description="images of each patient")] = 2
    size: Annotated[int, Meta(ge=16, description="pixels a side as drawn")] = 64
    difficulty: Annotated[UnitInterval, Meta(description="0: plain to see; 1: hidden in noise")] = 0.5
    draw_seed: Annotated[NonNegativeInt, Meta(description="seed of the drawing")] = 0


class CTPhantomConfig(PhantomConfig, frozen=True, kw_only=True, tag="medimg.data.CTPhantomDataModule"):
    """Synthetic chest CT slices with the five classes of `ct`."""

    name: str = "ct_phantom"
    classes: tuple[str, ...] | None = ("ILD", "Lung_Cancer", "Normal", "pneumonia", "pneumothorax")


class CovidPhantomConfig(PhantomConfig, frozen=True, kw_only=True, tag="medimg.data.CovidPhantomDataModule"):
    """Synthetic chest X-rays, clear or patchy, with the classes of `covid`."""

    name: str = "covid_phantom"
    classes: tuple[str, ...] | None = ("normal", "covid")
    positive_class: str | None = "covid"


AnyData = (
    ImageFolderConfig
    | ManifestConfig
    | CTConfig
    | CovidXrayConfig
    | MedMNISTConfig
    | CTPhantomConfig
    | CovidPhantomConfig
)
