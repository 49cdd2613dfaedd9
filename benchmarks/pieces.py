"""What a pass gains from pieces and from kept memory: python benchmarks/pieces.py [--kept] [BACKBONE ...].

Images a second of 32 images of 224 pixels in eval mode, run over in pieces of 2 to 32. With --kept, glibc keeps freed
memory, as in a run on a processor. `models/pieces.py` and `training/hardware.py` rest on it.
"""

import argparse
import statistics
import sys
import time

import torch
from torch import Tensor, nn

from medimg.config import TorchvisionConfig, TrainerConfig
from medimg.models.layout import gains_from_channels_last
from medimg.models.torchvision_models import torchvision_backbone
from medimg.training.hardware import set_arithmetic

IMAGES, PIECES = 32, (2, 4, 8, 16, 32)
BACKBONES = ("mobilenet_v2", "efficientnet_b0", "resnet50", "densenet121", "vgg16")


@torch.inference_mode()
def images_a_second(net: nn.Module, images: Tensor, piece: int) -> float:
    """One pass over all images."""
    start = time.perf_counter()
    for some in torch.split(images, piece):
        net(some)
    return len(images) / (time.perf_counter() - start)


def main() -> None:
    """Prints the table, a line as soon as it is known."""
    options = argparse.ArgumentParser()
    options.add_argument("backbones", nargs="*", default=BACKBONES)
    options.add_argument("--kept", action="store_true")
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()
    if given.kept:
        set_arithmetic(TrainerConfig(accelerator="cpu"))
    sys.stdout.write(f"| images/s | {' | '.join(map(str, PIECES))} |\n|---|{'---|' * len(PIECES)}\n")
    for name in given.backbones:
        config = TorchvisionConfig(backbone=name, weights=None)
        last = gains_from_channels_last(config, "cpu", mixed=False)
        layout = torch.channels_last if last else torch.contiguous_format
        net = torchvision_backbone(config, 5, 224).net.eval().to(memory_format=layout)
        images = torch.rand(IMAGES, 3, 224, 224).contiguous(memory_format=layout)
        images_a_second(net, images, IMAGES)
        found = [[images_a_second(net, images, piece) for piece in PIECES] for _ in range(given.repeats)]
        medians = [f"{statistics.median(turn):.1f}" for turn in zip(*found, strict=True)]
        sys.stdout.write(f"| {name} | {' | '.join(medians)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
