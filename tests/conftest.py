"""What several tests share: tiny images, and one training run that many assertions look at."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from ensemble_runs import Trained, train_members
from PIL import Image

from medimg.config.compose import load
from medimg.config.training import TrainConfig
from medimg.runs import RunFolder
from medimg.training.job import run_job

# Tiny tensors gain nothing from several threads, and some tests fork, which threads do not survive. torch comes later.
os.environ["OMP_NUM_THREADS"] = "1"

REAL = Path(os.environ.get("MEDIMG_REAL_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()

# one process, no download, a second of work
TINY = ["data.num_workers=0", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Phantoms are drawn once for the whole session, and nothing goes into the user's cache: not by fixtures either."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MEDIMG_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        yield


@pytest.fixture(scope="session")
def session_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "cache"


def draw_folder(root: Path, counts: dict[str, int], size: int = 16, seed: int = 0) -> Path:
    """Class folders of noise whose brightness tells the class; keys such as `train/covid`."""
    generator = np.random.default_rng(seed)
    for number, (folder, count) in enumerate(counts.items()):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for image in range(count):
            pixels = generator.integers(0, 120, (size, size)) + 40 * (number % 3)
            Image.fromarray(pixels.astype(np.uint8)).save(root / folder / f"{number}_{image:03d}.png")
    return root


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    def make(counts: dict[str, int], size: int = 16) -> Path:
        return draw_folder(tmp_path / "images", counts, size)

    return make


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"the real images are not there: {REAL} (MEDIMG_REAL_DATA)")
    return REAL


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, session_cache: Path) -> tuple[RunFolder, TrainConfig]:
    """A finished run of three epochs with everything on: augmentation, dropout, every epoch kept, TensorBoard."""
    home = tmp_path_factory.mktemp("tiny")
    folder = RunFolder(home / "run")
    config = load(tiny_overrides(home, session_cache))
    run_job(config, folder, in_sweep=False)
    return folder, config


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Runs that ensembles are made of; to be looked at, and copied where they are to be changed."""
    home = tmp_path_factory.mktemp("members")
    for number, split in enumerate(("train", "test")):
        draw_folder(home / "images" / split, {"a": 12, "b": 12}, seed=number)
    return train_members(home)


def tiny_overrides(home: Path, cache: Path) -> list[str]:
    return [
        *TINY,
        "data=covid_phantom",
        "data.size=32",
        "data.patients_per_class=10",
        "data.difficulty=0.0",
        "data.batch_size=8",
        "model.widths=[4,8]",
        "model.dropout=0.2",
        "augment=rotate_zoom",
        "optimizer.lr=0.01",
        "loss.class_weights=auto",
        "callbacks.checkpoint.every_epoch=true",
        "callbacks.figures.time_share=null",
        "trainer.max_epochs=3",
        f"paths.runs={home}",
        f"paths.cache={cache}",
    ]
