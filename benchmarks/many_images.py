"""How long lists, splits and the search for copies take with many images: python benchmarks/many_images.py [IMAGES].

Lists IMAGES (100,000) tiny files and splits them; then compares as many thumbnails, made by mixing those of phantoms.
What decoding costs depends on the images: `medimg.data.signatures` takes some 6 ms for a film of 512 pixels.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from medimg.config.data import CovidPhantomConfig
from medimg.data.descriptors import apart, descriptors, near
from medimg.data.groups import with_groups
from medimg.data.phantoms import draw_covid_phantoms
from medimg.data.signatures import SIDE, signatures
from medimg.data.similarity import COPY_DISTANCE
from medimg.data.sources import scan_folder
from medimg.data.splits import assign_splits, with_patients

T = TypeVar("T")


def timed(what: str, work: Callable[[], T]) -> T:
    """The work's result; its time goes to the screen."""
    start = time.perf_counter()
    result = work()
    sys.stdout.write(f"{what:28} {time.perf_counter() - start:7.2f} s\n")
    return result


def lists(count: int) -> None:
    """Patients of ten tiny files each, in five classes, and all that is done with them before training."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for number in range(count):
            folder = root / f"class_{number % 5}"
            folder.mkdir(exist_ok=True)
            (folder / f"p{number // 50:05}_{number // 5 % 10}.png").write_bytes(b"0123456789")
        manifest = timed(f"list {count} files", lambda: scan_folder(root))
        timed("fingerprint", manifest.fingerprint)
        patients = timed("patients from the paths", lambda: with_patients(manifest, r"(class_\d/p\d+)_"))
        timed("split by image", lambda: assign_splits(manifest, val_fraction=0.2, split_seed=0))
        timed("split by patient", lambda: assign_splits(patients, val_fraction=0.2, split_seed=0))
        timed("fold by patient", lambda: assign_splits(patients, val_fraction=0.2, split_seed=0, folds=5, fold=0))
        timed("groups by blocks", lambda: with_groups(manifest, "blocks", block_size=20, threshold=0))


def copies(count: int) -> None:
    """Thumbnails that are no copies, and a hundred that are."""
    with tempfile.TemporaryDirectory() as temporary:
        config = CovidPhantomConfig(patients_per_class=100, images_per_patient=1, difficulty=1.0)
        found = signatures(scan_folder(draw_covid_phantoms(config, Path(temporary))))
    thumbnails = _mixed(found.thumbnails, count)
    thumbnails[-100:] = thumbnails[:100] // 2
    vectors = timed(f"describe {count} thumbnails", lambda: descriptors(thumbnails))
    pairs = timed("compare them", lambda: list(near(vectors, COPY_DISTANCE)))
    timed(f"verify {len(pairs)} pairs", lambda: apart(thumbnails, pairs))


def _mixed(thumbnails: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    """The mean of two shifted thumbnails each, so that they look real and none looks like another."""
    draw = np.random.default_rng(0)
    mixed = np.empty((count, SIDE, SIDE), np.uint8)
    for number in range(count):
        one, other = draw.integers(0, len(thumbnails), 2)
        down, right = draw.integers(0, SIDE, 2)
        mixed[number] = np.roll(thumbnails[one], down, 0) // 2 + np.roll(thumbnails[other], right, 1) // 2
    return mixed


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    lists(number)
    copies(number)
    sys.stdout.write(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB\n")
