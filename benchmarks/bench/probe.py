"""What medimg is measured against beside the plain loop, each in a process: python -m benchmarks.bench.probe KIND.

    imports                    the bare imports alone
    forward DATA SPLIT ...     the bare imports, and all images through the network once
    loader plain|medimg DATA   batches of the second epoch, of ImageFolder or of medimg's data module
    ceiling BACKBONE ...       training steps on one batch that is on the device, with what medimg uses there
    device                     the name of the GPU; null without one

Each prints a JSON line. Nothing heavy is imported before it is known what is asked: that is part of what is measured.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.bench.process import STARTED

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def imports(_: argparse.Namespace) -> dict[str, Any]:
    """Seconds from the start of the process until all that a run needs is imported."""
    import lightning
    import torch
    import torchmetrics
    import torchvision

    found = [module.__version__ for module in (torch, torchvision, lightning, torchmetrics)]
    return {"import_s": time.monotonic() - float(os.environ[STARTED]), "versions": found}


def forward(given: argparse.Namespace) -> dict[str, Any]:
    """The bare imports, and then the images of both splits through the network, each once, without gradients."""
    imports(given)
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = _network(given.backbone, given.weights).to(device).eval()
    images, total = 0, 0.0
    with torch.inference_mode():
        for split in ("train", given.split):
            for batch, _ in _image_folder(given, split):
                total += float(model(batch.to(device)).sum())
                images += len(batch)
    return {"images": images, "checksum": total}


def loader(given: argparse.Namespace) -> dict[str, Any]:
    """Images a second as normalised float batches, from the second epoch on."""
    seconds, images = 0.0, 0
    epochs = _plain_epochs(given) if given.which == "plain" else _medimg_epochs(given)
    for number, epoch in enumerate(epochs):
        start = time.perf_counter()
        seen = sum(len(batch) for batch in epoch)
        if number:
            seconds, images = seconds + time.perf_counter() - start, images + seen
    return {"img_s": images / seconds, "images": images}


def ceiling(given: argparse.Namespace) -> dict[str, Any]:
    """Images a second of whole training steps in bf16 on one batch in GPU memory, as fast as PyTorch's own means go."""
    import torch

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda")
    model = _network(given.backbone, None).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    images = torch.randn(given.batch_size, 3, given.size, given.size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(2, (given.batch_size,), device=device)
    start = 0.0
    warm, steps = 20, 100
    for number in range(warm + steps):
        if number == warm:
            torch.cuda.synchronize()
            start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        optimizer.step()
    torch.cuda.synchronize()
    return {"img_s": steps * given.batch_size / (time.perf_counter() - start)}


def device(_: argparse.Namespace) -> dict[str, Any]:
    """What there is to compute on, and what with."""
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"gpu": name, "torch": torch.__version__, "threads": torch.get_num_threads()}


def _plain_epochs(given: argparse.Namespace) -> Any:
    batches = _image_folder(given, "train", shuffle=True)
    for _ in range(given.epochs):
        yield (images for images, _ in batches)


def _medimg_epochs(given: argparse.Namespace) -> Any:
    """The data module as a run has it, with what the classifier does to its batches before the network sees them."""
    from medimg.config import ImageFolderConfig, TrainerConfig
    from medimg.data.datamodule import ImageDataModule
    from medimg.data.preprocessing import Preprocessing
    from medimg.training.hardware import set_arithmetic

    set_arithmetic(TrainerConfig())
    config = ImageFolderConfig(root=str(given.data), batch_size=given.batch_size, image_size=given.size)
    preprocessing = Preprocessing(given.size, given.size, mean=_MEAN, std=_STD, channels=3)
    module = ImageDataModule(config, preprocessing=preprocessing, cache=given.cache)
    module.setup("fit")
    batches = module.train_dataloader()
    for epoch in range(given.epochs):
        batches.sampler.set_epoch(epoch)  # type: ignore[attr-defined]  # as the Trainer does
        yield (preprocessing.normalise(batch.image) for batch in batches)


def _network(backbone: str, weights: Path | None) -> Any:
    import torch
    import torchvision

    model = torchvision.models.get_model(backbone, weights=None)
    if weights is not None:
        model.load_state_dict(torch.load(weights, weights_only=True))
    return model


def _image_folder(given: argparse.Namespace, split: str, *, shuffle: bool = False) -> Any:
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    prepare = transforms.Compose(
        [transforms.Resize((given.size, given.size)), transforms.ToTensor(), transforms.Normalize(_MEAN, _STD)]
    )
    folder = ImageFolder(given.data / split, transform=prepare)
    return DataLoader(folder, given.batch_size, shuffle=shuffle, num_workers=2)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="a piece of work that medimg is measured against")
    kinds = parser.add_subparsers(required=True)
    made = {}
    for work in (imports, forward, loader, ceiling, device):
        made[work.__name__] = kinds.add_parser(work.__name__)
        made[work.__name__].set_defaults(work=work)
    made["forward"].add_argument("data", type=Path)
    made["forward"].add_argument("split")
    made["forward"].add_argument("--weights", type=Path)
    made["loader"].add_argument("which", choices=["plain", "medimg"])
    made["loader"].add_argument("data", type=Path)
    made["loader"].add_argument("--cache", type=Path, required=True)
    made["loader"].add_argument("--epochs", type=int, default=3)
    for name in ("forward", "ceiling"):
        made[name].add_argument("--backbone", required=True)
    for name in ("forward", "loader", "ceiling"):
        made[name].add_argument("--size", type=int, default=224)
        made[name].add_argument("--batch-size", type=int, default=32)
    return parser.parse_args()


if __name__ == "__main__":
    chosen = _arguments()
    sys.stdout.write(json.dumps(chosen.work(chosen)) + "\n")
