"""Small data sets for the checks."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from medimg.data.manifest import Manifest, Record

Change = Callable[[np.ndarray, str], np.ndarray]


def draw(root: Path, count: int = 40, change: Change = lambda pixels, label: pixels, size: int = 48) -> Manifest:
    """Two classes of blobs that differ in nothing but what `change` does to them."""
    generator = np.random.default_rng(0)
    records = []
    for number in range(count):
        label = "ab"[number % 2]
        pixels = gaussian_filter(generator.normal(size=(size, size)), 3) * 600 + 128
        pixels = np.clip(change(pixels, label), 0, 255).astype(np.uint8)
        file = root / label / f"{number:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
        records.append(Record(f"{label}/{number:03d}.png", label, patient_id=f"p{number}"))
    return Manifest(root, tuple(records), classes=("a", "b"))
