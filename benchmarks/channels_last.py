"""What channels-last gains on this machine: python benchmarks/channels_last.py [--threads 1] [BACKBONE[:SIZE] ...].

One training step (forward, backward, Adam) and one pass in eval mode of each backbone, on images in memory; contiguous
and channels-last by turns, so that other work on the machine disturbs both alike. A ratio is the time of channels-last
over that of contiguous: below 1 is a gain. With --threads 1 the processor's own time is measured, which other work
disturbs least. `GAINS_ON_CPU` in `medimg/models/layout.py` comes from this table.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from medimg.config import SmallCNNConfig, TorchvisionConfig
from medimg.models.backbone import Backbone
from medimg.models.cnn import small_cnn
from medimg.models.torchvision_models import torchvision_backbone

# those of conf/model; the largest at 112 pixels, or they would take an hour
BACKBONES = (
    *("small_cnn", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "squeezenet1_1"),
    *("alexnet", "resnet18", "resnet50", "resnet152:112", "densenet121", "densenet161:112", "vgg16:112"),
    *("convnext_tiny:112", "vit_b_16:112"),
)


def backbone(name: str, size: int) -> Backbone:
    """With five classes and random weights."""
    if name == "small_cnn":
        return small_cnn(SmallCNNConfig(), 5, size)
    return torchvision_backbone(TorchvisionConfig(backbone=name, weights=None), 5, size)


class Work:
    """A backbone in one layout, with its batch."""

    def __init__(self, name: str, size: int, batch: int, device: str, layout: torch.memory_format) -> None:
        torch.manual_seed(0)
        self.net = backbone(name, size).to(device).to(memory_format=layout)
        # as it comes from the loader and the normalisation: contiguous; the change is part of the price
        self.images, self.layout = torch.rand(batch, 3, size, size, device=device), layout
        self.labels = torch.arange(batch, device=device) % 5
        self.optimizer = torch.optim.Adam(self.net.parameters())

    def logits(self) -> Tensor:
        """A forward pass."""
        with torch.autocast(self.images.device.type, enabled=self.images.is_cuda):
            found: Tensor = self.net(self.images.contiguous(memory_format=self.layout))
        return found

    def step(self) -> None:
        """A training step."""
        self.net.train()
        nn.functional.cross_entropy(self.logits(), self.labels).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()

    @torch.inference_mode()
    def evaluate(self) -> None:
        """A pass as in validation."""
        self.net.eval()
        self.logits()


def seconds(work: Callable[[], None], device: str) -> float:
    """How long the work takes, the device's part included."""
    alone = device == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    start = clock()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def ratios(pair: tuple[Callable[[], None], Callable[[], None]], repeats: int, device: str) -> tuple[float, list[float]]:
    """The median seconds of the first, and the second's over the first's, turn by turn."""
    for work in pair:  # what the first call alone has to do
        seconds(work, device)
    turns = [(seconds(pair[0], device), seconds(pair[1], device)) for _ in range(repeats)]
    return statistics.median(first for first, _ in turns), [second / first for first, second in turns]


def main() -> None:
    """Prints the table, a line as soon as it is known."""
    options = argparse.ArgumentParser()
    options.add_argument("backbones", nargs="*", default=BACKBONES)
    options.add_argument("--device", default="cpu")
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--repeats", type=int, default=7)
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    sys.stdout.write(
        "| backbone | px | contiguous step | ratio of a step | contiguous eval | ratio of an eval pass |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|\n")
    for each in given.backbones:
        name, _, size = each.partition(":")
        plain, last = (
            Work(name, int(size or 224), given.batch, given.device, layout)
            for layout in (torch.contiguous_format, torch.channels_last)
        )
        cells = [name, size or "224"]
        for pair in ((plain.step, last.step), (plain.evaluate, last.evaluate)):
            usual, found = ratios(pair, given.repeats, given.device)
            cells += [f"{usual:.3f} s", f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"]
        sys.stdout.write(f"| {' | '.join(cells)} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
