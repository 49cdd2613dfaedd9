"""Which backbones compute faster in channels-last, by measurement on each kind of device."""

from medimg.config import Component, SmallCNNConfig, TorchvisionConfig

# Families by the beginning of torchvision's names. benchmarks/channels_last.py, torch 2.14 on a processor with AVX-512
# (AMD EPYC), batches of 8, time of a training step / of an eval pass in channels-last over that in contiguous:
# small_cnn 0.54 / 0.43, mobilenet_v2 0.78 / 0.90, mobilenet_v3_small 0.73 / 0.88, mobilenet_v3_large 0.73 / 0.86,
# efficientnet_b0 0.76 / 0.95, squeezenet1_1 0.74 / 0.49, alexnet 0.98 / 0.92, resnet18 0.88 / 0.87,
# resnet50 0.90 / 0.95, resnet152 0.89 / 0.95, densenet121 0.88 / 0.93, densenet161 0.78 / 0.75,
# vgg16 0.99 / 0.93 (at 112 pixels)
GAINS_ON_CPU = ("mobilenet_v2", "mobilenet_v3", "efficientnet_b", "squeezenet", "alexnet", "resnet", "densenet", "vgg")
# NVIDIA's tensor cores want channels-last for convolutions of 16 bits; there is nothing to gain where images are cut
# into patches first thing. Not measured.
_OF_PATCHES = ("vit", "swin", "maxvit")


def gains_from_channels_last(model: Component, device: str, *, mixed: bool) -> bool:
    """Whether a backbone is to compute in channels-last where the user leaves that open.

    A function of the backbone and the kind of device, and of nothing that was timed: results differ in the last bit.

    Args:
        model: its configuration; a model of the user's own stays contiguous.
        device: `cuda`, `cpu` or another type of torch's.
        mixed: whether it computes in 16 bits.
    """
    if isinstance(model, SmallCNNConfig):
        return device == "cpu" or (device == "cuda" and mixed)
    if not isinstance(model, TorchvisionConfig):
        return False
    if device == "cpu":
        return model.backbone.startswith(GAINS_ON_CPU)
    return device == "cuda" and mixed and not model.backbone.startswith(_OF_PATCHES)
