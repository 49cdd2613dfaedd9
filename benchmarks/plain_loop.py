"""What medimg is measured against: the training loop that one writes by hand in an afternoon, in plain PyTorch.

    python benchmarks/plain_loop.py DATA [--val val|test] [--backbone mobilenet_v2] [--weights FILE] [--frozen] ...

Class folders below DATA/train and DATA/VAL, images decoded and resized anew in every epoch, a torchvision backbone with
a new last layer, Adam and a step schedule, macro-F1 of the whole split after each epoch. Frozen means that the trunk's
parameters are not trained; BatchNorm and dropout stay in training mode, as people leave them. It ends with a JSON line:

    import_s          to import torch, torchvision and scikit-learn
    first_step_s      from the start of the script to the end of the first optimizer step
    train_img_s       images a second while training, validation left out
    compute_img_s     images a second of the same step on one batch in memory: what no loader can beat
    total_s           all epochs, validation included
    f1, acc           macro-F1 and accuracy of the best epoch by macro-F1
    peak_mb           most resident memory of this process
    peak_children_mb  most resident memory of one of its loader's processes
"""

import time

STARTED = time.perf_counter()

import argparse  # noqa: E402 - the clock comes first
import json  # noqa: E402
import resource  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import torch  # noqa: E402
import torchvision  # noqa: E402
from sklearn.metrics import accuracy_score, f1_score  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.utils.data import DataLoader  # noqa: E402
from torchvision import transforms  # noqa: E402
from torchvision.datasets import ImageFolder  # noqa: E402

IMPORTED = time.perf_counter() - STARTED

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's

Step = Callable[[Tensor, Tensor], None]


def arguments() -> argparse.Namespace:
    """The options; their names are what another script needs to take this one's place."""
    parser = argparse.ArgumentParser(description="a plain training loop over class folders")
    parser.add_argument("data", type=Path, help="holds train/CLASS/ and VAL/CLASS/")
    parser.add_argument("--val", default="val", help="the folder that is validated on")
    parser.add_argument("--backbone", default="mobilenet_v2", help="torchvision's name")
    parser.add_argument("--weights", type=Path, help="a state dict; random weights without it")
    parser.add_argument("--frozen", action="store_true", help="train the last layer alone")
    for name, default in (("epochs", 10), ("batch-size", 32), ("size", 224), ("workers", 2), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def loader(given: argparse.Namespace, split: str, *, shuffle: bool = False) -> DataLoader[tuple[Tensor, Tensor]]:
    """Batches of normalised images [B, 3, size, size] and labels [B]."""
    prepare = transforms.Compose(
        [transforms.Resize((given.size, given.size)), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    )
    folder = ImageFolder(given.data / split, transform=prepare)
    return DataLoader(folder, given.batch_size, shuffle=shuffle, num_workers=given.workers)


def network(given: argparse.Namespace, classes: int) -> nn.Module:
    """The backbone with a new last linear layer, which alone is trained where it is frozen."""
    model: nn.Module = torchvision.models.get_model(given.backbone, weights=None)
    if given.weights is not None:
        model.load_state_dict(torch.load(given.weights, weights_only=True))
    model.requires_grad_(not given.frozen)
    name, last = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear)][-1]
    model.set_submodule(name, nn.Linear(last.in_features, classes))
    return model


def validate(model: nn.Module, batches: DataLoader[tuple[Tensor, Tensor]], device: torch.device) -> tuple[float, float]:
    """Macro-F1 and accuracy of the whole split."""
    model.eval()
    found: list[int] = []
    true: list[int] = []
    with torch.no_grad():
        for images, labels in batches:
            found += model(images.to(device)).argmax(dim=1).tolist()
            true += labels.tolist()
    return float(f1_score(true, found, average="macro")), float(accuracy_score(true, found))


def ceiling(step: Step, model: nn.Module, given: argparse.Namespace, classes: int, device: torch.device) -> float:
    """Images a second of the step on one batch that is there already, after a step that is not counted."""
    model.train()
    images = torch.randn(given.batch_size, 3, given.size, given.size, device=device)
    labels = torch.randint(classes, (given.batch_size,), device=device)
    step(images, labels)
    settle(device)
    start, steps = time.perf_counter(), 5
    for _ in range(steps):
        step(images, labels)
    settle(device)
    images_done: int = steps * given.batch_size
    return images_done / (time.perf_counter() - start)


def settle(device: torch.device) -> None:
    """Waits until a GPU has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_mb(who: int) -> int:
    """Most resident memory in MB; Linux counts in KiB, macOS in bytes."""
    return round(resource.getrusage(who).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10))


def main() -> None:
    """Trains, and prints the line."""
    given = arguments()
    torch.manual_seed(given.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train, val = loader(given, "train", shuffle=True), loader(given, given.val)
    classes = len(train.dataset.classes)  # type: ignore[attr-defined]  # an ImageFolder
    model = network(given, classes).to(device)
    loss = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], lr=1e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)

    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        loss(model(images), labels).backward()
        optimizer.step()

    first_step, training, seen, best = 0.0, 0.0, 0, (0.0, 0.0)
    begin = time.perf_counter()
    for _ in range(given.epochs):
        model.train()
        epoch = time.perf_counter()
        for images, labels in train:
            step(images.to(device), labels.to(device))
            seen += len(labels)
            if not first_step:
                settle(device)
                first_step = time.perf_counter() - STARTED
        settle(device)
        training += time.perf_counter() - epoch
        schedule.step()
        best = max(best, validate(model, val, device))
    total = time.perf_counter() - begin
    figures = {
        "backbone": given.backbone, "frozen": given.frozen, "epochs": given.epochs,
        "train": len(train.dataset), "val": len(val.dataset),  # type: ignore[arg-type]  # ImageFolders
        "import_s": round(IMPORTED, 3), "first_step_s": round(first_step, 3), "train_img_s": round(seen / training, 2),
        "compute_img_s": round(ceiling(step, model, given, classes, device), 2), "total_s": round(total, 2),
        "f1": round(best[0], 4), "acc": round(best[1], 4),
        "peak_mb": peak_mb(resource.RUSAGE_SELF), "peak_children_mb": peak_mb(resource.RUSAGE_CHILDREN),
    }  # fmt: skip
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
