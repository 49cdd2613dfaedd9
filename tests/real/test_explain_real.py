"""Grad-CAM of a network that has learned something, on real X-rays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from medimg.config import CovidXrayConfig
from medimg.config.model import TorchvisionConfig
from medimg.data.load import load_manifest
from medimg.models import ImageClassifier
from medimg.models.explain import class_maps, randomised_similarity
from medimg.reporting.overlay import write_overlay

pytestmark = pytest.mark.real

SIZE = 224


@pytest.fixture(scope="module")
def images(real_data: Path) -> tuple[Tensor, Tensor]:
    """Some X-rays of each class, and their classes."""
    manifest = load_manifest(CovidXrayConfig(root=str(real_data / "covid_xray")), Path("unused"))
    records = [[record for record in manifest.of("test") if record.label == name][:12] for name in manifest.classes]
    model = classifier(real_data)
    pixels = [model.preprocessing.resize(manifest.read(record, 3)) for group in records for record in group]
    return torch.stack(pixels), torch.tensor([0] * 12 + [1] * 12)


def classifier(real_data: Path) -> ImageClassifier:
    weights = real_data.parent / "weights" / "mobilenet_v2-imagenet.pth"
    config = TorchvisionConfig(backbone="mobilenet_v2", weights=str(weights), freeze=True)
    return ImageClassifier(config, ["normal", "covid"], image_size=SIZE)


@pytest.fixture(scope="module")
def trained(real_data: Path, images: tuple[Tensor, Tensor]) -> ImageClassifier:
    """Its head is fitted to features of the images themselves: what it has learned is all that matters here."""
    model, (pixels, labels) = classifier(real_data).eval(), images
    with torch.no_grad():
        features = model.backbone.features(model.preprocessing.normalise(model.preprocessing.to_unit(pixels)))
        fitted = LogisticRegression(C=0.01, max_iter=1000).fit(features.numpy(), labels.numpy())
        head = next(layer for layer in model.backbone.head if isinstance(layer, nn.Linear))
        head.weight.copy_(torch.from_numpy(np.vstack([-fitted.coef_, fitted.coef_])))
        head.bias.copy_(torch.from_numpy(np.hstack([-fitted.intercept_, fitted.intercept_])))
        assert (model(pixels).argmax(dim=1) == labels).float().mean() > 0.9
    return model


def test_maps_depend_on_what_was_learned(trained: ImageClassifier, images: tuple[Tensor, Tensor]) -> None:
    """Adebayo et al. (2018): a method whose maps survive random weights shows edges, not evidence."""
    pixels, labels = images
    found = np.concatenate([randomised_similarity(trained, pixels, labels, seed=seed) for seed in range(3)])
    assert np.isfinite(found).all()
    assert abs(found.mean()) < 0.3
    assert np.abs(found).mean() < 0.5


def test_hiding_what_is_shown_costs_more_than_hiding_the_rest(
    trained: ImageClassifier, images: tuple[Tensor, Tensor]
) -> None:
    """Where a map is highest the evidence is: without that fifth the logit falls further than without the lowest."""
    pixels, labels = images
    maps = class_maps(trained, pixels, labels)
    falls = {}
    with torch.no_grad():
        before = trained(pixels).gather(1, labels[:, None])[:, 0]
        for name, hidden in (
            ("highest", maps > maps.flatten(1).quantile(0.8, dim=1)[:, None, None]),
            ("lowest", maps < maps.flatten(1).quantile(0.2, dim=1)[:, None, None].clamp(min=1e-9)),
        ):
            grey = torch.where(hidden[:, None], pixels.float().mean(dim=(1, 2, 3), keepdim=True) / 255, pixels / 255)
            falls[name] = (before - trained(grey).gather(1, labels[:, None])[:, 0]).mean().item()
    assert falls["highest"] > 2 * max(falls["lowest"], 0)


def test_the_picture_shows_both(trained: ImageClassifier, images: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    pixels, labels = images
    write_overlay(tmp_path / "map.png", pixels[-1], class_maps(trained, pixels[-1:], labels[-1:])[0])
    assert (tmp_path / "map.png").stat().st_size > 10_000
