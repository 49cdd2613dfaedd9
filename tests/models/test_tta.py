"""Test-time augmentation is the mean of probabilities over views that depend on (seed, view, image) alone."""

import pytest
import torch
from torch import Tensor, nn

from medimg.config.augment import AugmentConfig
from medimg.data.augment import augment
from medimg.models.tta import averaged_logits
from medimg.randomness import Stream, derive_seed

TURNED = AugmentConfig(rotate=30.0, zoom=0.2)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(5, 1, 12, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(144, 3)).eval()


def numbers(count: int) -> Tensor:
    return torch.arange(count)


@torch.no_grad()
def test_the_mean_of_probabilities(images: Tensor, model: nn.Module) -> None:
    found = averaged_logits(model, images, numbers(5), TURNED, views=3, seed=7).softmax(1)
    seed = derive_seed(7, Stream.VIEWS)
    views = [images, *(augment(images, numbers(5), TURNED, seed, view) for view in range(3))]
    mean = torch.stack([model(view).softmax(1) for view in views]).mean(0)
    torch.testing.assert_close(found.float(), mean)
    assert not torch.allclose(mean, model(images).softmax(1), atol=1e-3)


@torch.no_grad()
def test_a_flip_for_certain_is_the_mean_of_an_image_and_its_mirror(images: Tensor, model: nn.Module) -> None:
    mirrored = AugmentConfig(horizontal_flip=1.0)
    found = averaged_logits(model, images, numbers(5), mirrored, views=1, seed=0).softmax(1)
    mean = (model(images).softmax(1) + model(images.flip(-1)).softmax(1)) / 2
    torch.testing.assert_close(found.float(), mean, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_batch_changes_nothing(images: Tensor, model: nn.Module) -> None:
    whole = averaged_logits(model, images, numbers(5), TURNED, views=2, seed=3)
    alone = averaged_logits(model, images[3:4], torch.tensor([3]), TURNED, views=2, seed=3)
    torch.testing.assert_close(alone, whole[3:4], rtol=1e-6, atol=1e-6)
    elsewhere = averaged_logits(model, images[3:4], torch.tensor([4]), TURNED, views=2, seed=3)
    assert not torch.allclose(alone, elsewhere, atol=1e-4)
    assert not torch.allclose(whole, averaged_logits(model, images, numbers(5), TURNED, views=2, seed=4), atol=1e-4)


@torch.no_grad()
def test_8_bit_images_are_as_those_in_0_to_1(images: Tensor, model: nn.Module) -> None:
    stored = (images * 255).to(torch.uint8)
    left, right = (averaged_logits(model, each, numbers(5), TURNED, 2, 0) for each in (stored, stored / 255))
    torch.testing.assert_close(left, right)


def test_no_view_is_no_average(images: Tensor, model: nn.Module) -> None:
    with pytest.raises(ValueError, match="views=0"):
        averaged_logits(model, images, numbers(5), TURNED, views=0, seed=0)
