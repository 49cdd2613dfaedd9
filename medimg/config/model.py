"""The `model` and `loss` groups: the backbone, its weights and what it is trained against."""

from typing import Annotated, Literal

from msgspec import Meta

from medimg.config.base import BelowOne, Component, NonNegative, NonNegativeInt, PositiveInt


class ModelConfig(Component, frozen=True, kw_only=True):
    """What all models have in common."""

    name: Annotated[str, Meta(description="names the model in run folders")] = "model"
    in_channels: Annotated[
        Literal[1, 3],
        Meta(description="channels of the first layer; grey images are repeated to 3, colour averaged to 1"),
    ] = 3
    dropout: Annotated[
        BelowOne | None, Meta(description="dropout before the last layer; null: as the architecture has it")
    ] = None
    init_from: Annotated[
        str | None,
        Meta(description="a checkpoint of another run, whose weights alone this one starts from"),
    ] = None


class TorchvisionConfig(ModelConfig, frozen=True, kw_only=True, tag="medimg.models.torchvision_backbone"):
    """Any torchvision classification model, with a new last layer."""

    backbone: Annotated[str, Meta(description="torchvision's name of the model")]
    weights: Annotated[
        str | None,
        Meta(description="imagenet, default, a torchvision weights name, a state-dict file, or null: from scratch"),
    ] = "imagenet"
    freeze: Annotated[
        bool | Literal["params"],
        Meta(description="true: train the head alone; params: the same, but BatchNorm and dropout stay in train mode"),
    ] = False


class SmallCNNConfig(ModelConfig, frozen=True, kw_only=True, tag="medimg.models.small_cnn"):
    """A small convolutional network, trained from scratch."""

    name: str = "small_cnn"
    widths: Annotated[
        tuple[PositiveInt, ...], Meta(min_length=1, description="channels of each block: convolution, ReLU, max-pool 2")
    ] = (16, 32, 64)
    kernel_size: Annotated[PositiveInt, Meta(description="pixels a side of each convolution")] = 3
    padding: Annotated[NonNegativeInt, Meta(description="pixels of zero padding of each convolution")] = 1
    batch_norm: Annotated[bool, Meta(description="batch normalisation after each convolution")] = True
    hidden: Annotated[PositiveInt | None, Meta(description="units of a layer before the last; null: none")] = None
    pool: Annotated[
        Literal["average", "flatten"],
        Meta(description="what comes after the last block: the mean over the image, or all pixels"),
    ] = "average"


AnyModel = TorchvisionConfig | SmallCNNConfig


class LossConfig(Component, frozen=True, kw_only=True):
    """What all losses have in common."""

    class_weights: Annotated[
        Literal["auto"] | dict[str, NonNegative] | None,
        Meta(description="auto: inverse frequency in the train split; or {class:weight}; null: none"),
    ] = None


class CrossEntropyConfig(LossConfig, frozen=True, kw_only=True, tag="torch.nn.CrossEntropyLoss"):
    """Cross-entropy, with label smoothing where asked."""

    label_smoothing: BelowOne = 0.0


class FocalConfig(LossConfig, frozen=True, kw_only=True, tag="medimg.models.FocalLoss"):
    """Focal loss (Lin et al., 2017)."""

    gamma: NonNegative = 2.0


AnyLoss = CrossEntropyConfig | FocalConfig
