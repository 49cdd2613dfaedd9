from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from medimg.config.data import CovidPhantomConfig, CTPhantomConfig, PhantomConfig
from medimg.data.phantoms import draw_covid_phantoms, draw_ct_phantoms

KINDS: list[tuple[type[PhantomConfig], Callable[[Any, Path], Path]]] = [
    (CTPhantomConfig, draw_ct_phantoms),
    (CovidPhantomConfig, draw_covid_phantoms),
]


def images(root: Path, split: str) -> tuple[NDArray[np.float64], NDArray[np.intp], list[str]]:
    """Pixels 0..1, class numbers and patients of one part."""
    files = sorted((root / split).rglob("*.png"))
    classes = sorted({file.parent.name for file in files})
    pixels = np.stack([np.asarray(Image.open(file)) for file in files]) / 255
    return pixels, np.array([classes.index(f.parent.name) for f in files]), [f.name.split("_")[0] for f in files]


def texture(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """How rough the picture is in 4 x 4 blocks, and how bright these are beside the whole, both sorted by size.

    Sorting forgets where things are, as pooling in a network does.
    """
    count = len(pixels)
    level = pixels.mean((1, 2), keepdims=True)
    blocks = (pixels / level)[:, :64, :64].reshape(count, 16, 4, 16, 4)
    rough, bright = blocks.std((2, 4)).reshape(count, -1), blocks.mean((2, 4)).reshape(count, -1)
    return np.hstack([np.sort(rough, 1)[:, ::8], np.sort(bright, 1)[:, ::8]])


def macro_f1(root: Path, features: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    (train, labels, _), (test, truth, _) = images(root, "train"), images(root, "test")
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=2000)).fit(features(train), labels)
    return float(f1_score(truth, model.predict(features(test)), average="macro"))


def brightness(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([pixels.mean((1, 2)), pixels.std((1, 2))], 1)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, float], Path]:
    """Sets large enough to measure on, plain and hidden."""
    cache = tmp_path_factory.mktemp("cache")
    sets: dict[tuple[str, float], Path] = {}
    for difficulty in (0.0, 1.0):
        for kind, draw in KINDS:
            config = kind(difficulty=difficulty, images_per_patient=1, patients_per_class=32)
            sets[config.name, difficulty] = draw(config, cache)
    return sets


@pytest.mark.parametrize(("name", "chance"), [("ct_phantom", 0.2), ("covid_phantom", 0.5)])
def test_difficulty_lowers_what_a_simple_classifier_reaches(
    roots: dict[tuple[str, float], Path], name: str, chance: float
) -> None:
    easy, hard = macro_f1(roots[name, 0.0], texture), macro_f1(roots[name, 1.0], texture)
    assert easy > chance + 0.3
    assert hard < easy - 0.1


@pytest.mark.parametrize(("name", "chance"), [("ct_phantom", 0.2), ("covid_phantom", 0.5)])
def test_brightness_alone_does_not_tell_the_class(
    roots: dict[tuple[str, float], Path], name: str, chance: float
) -> None:
    reached = macro_f1(roots[name, 0.0], brightness)
    assert reached < chance + 0.25
    assert reached < macro_f1(roots[name, 0.0], texture) - 0.15


@pytest.mark.parametrize(("kind", "draw"), KINDS)
def test_images_of_a_patient_are_more_alike_than_those_of_two(
    kind: type[PhantomConfig], draw: Callable[[Any, Path], Path], tmp_path: Path
) -> None:
    pixels, labels, patients = images(draw(kind(patients_per_class=8), tmp_path), "train")
    flat = pixels.reshape(len(pixels), -1)
    alike = np.corrcoef(flat)
    same = np.equal.outer(patients, patients) & ~np.eye(len(flat), dtype=bool)
    others = np.equal.outer(labels, labels) & ~np.equal.outer(patients, patients)
    assert alike[same].mean() > alike[others].mean() + 0.05
    # For most images the nearest other image is of the same patient.
    np.fill_diagonal(alike, -1)
    nearest = alike.argmax(1)
    assert np.mean([patients[i] == patients[n] for i, n in enumerate(nearest)]) > 0.6


@pytest.mark.parametrize("size", [16, 33, 512])
@pytest.mark.parametrize(("kind", "draw"), KINDS)
def test_every_size_is_a_grey_picture_with_contrast(
    kind: type[PhantomConfig], draw: Callable[[Any, Path], Path], size: int, tmp_path: Path
) -> None:
    root = draw(kind(patients_per_class=1, images_per_patient=1, size=size), tmp_path)
    files = list(root.rglob("*.png"))
    assert len(files) == len(kind().classes or ())
    for file in files:
        with Image.open(file) as image:
            assert (image.mode, image.size) == ("L", (size, size))
            pixels = np.asarray(image)
        assert pixels.std() > 25
        # The chest is brighter than the film's upper corners, the lungs darker than the middle.
        assert np.median(pixels) > pixels[: size // 16 + 1, : size // 16 + 1].mean()


def test_size_changes_the_sampling_and_not_the_patient(tmp_path: Path) -> None:
    small, large = (
        draw_ct_phantoms(CTPhantomConfig(size=size, difficulty=0, patients_per_class=2), tmp_path) for size in (32, 128)
    )
    (one, _, names), (two, _, others) = images(small, "train"), images(large, "train")
    assert names == others
    shrunk = two.reshape(len(two), 32, 4, 32, 4).mean((2, 4))
    for a, b in zip(one, shrunk, strict=True):
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.95


def test_a_pneumothorax_is_the_darkest_lung_and_a_mass_is_bright(tmp_path: Path) -> None:
    """Against plain radiology: within the body, free air is blacker and a mass whiter than lung tissue."""
    config = CTPhantomConfig(difficulty=0, size=128, patients_per_class=5, images_per_patient=1)
    pixels, labels, _ = images(draw_ct_phantoms(config, tmp_path), "train")
    by_class = {name: pixels[labels == i] for i, name in enumerate(sorted(config.classes or ()))}

    def share_of_lung(pictures: NDArray[np.float64], low: float, high: float) -> float:
        """The part of the box around both lungs that lies between these shares of each picture's tissue level."""
        box = pictures[:, 40:80, 20:108]
        level = np.quantile(box, 0.9, axis=(1, 2), keepdims=True)
        return float(((box >= low * level) & (box < high * level)).mean())

    free_air = {name: share_of_lung(pictures, -1, 0.12) for name, pictures in by_class.items()}
    assert max(free_air, key=lambda name: free_air[name]) == "pneumothorax"
    assert free_air["pneumothorax"] > 3 * free_air["Normal"]
    aerated = {name: share_of_lung(pictures, 0.12, 0.6) for name, pictures in by_class.items()}
    assert aerated["Lung_Cancer"] < aerated["Normal"]
