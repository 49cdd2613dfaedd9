from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import yaml
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from medimg.config.augment import AugmentConfig
from medimg.data import augment as module
from medimg.data.augment import augment

GROUP = Path(__file__).parents[2] / "conf" / "augment"
ALL = AugmentConfig(
    rotate=20, zoom=0.2, translate=0.1, shear=8, brightness=0.2, contrast=0.3, noise=0.05, horizontal_flip=0.5,
    vertical_flip=0.5,
)  # fmt: skip


@pytest.fixture
def images():
    """Smooth, oblong and with black edges, so that bilinear methods agree about them."""
    noise = torch.rand(6, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.interpolate(noise, (28, 44), mode="bicubic", align_corners=False).clamp(0, 1)
    return torch.nn.functional.pad(smooth, (2, 2, 2, 2))


@pytest.fixture
def fix_draws(monkeypatch):
    """Let every draw be 0.5, the middle of its range, but for those named."""

    def fix(**draws):
        row = np.full(10, 0.5)
        for name, value in draws.items():
            row[getattr(module, f"_{name}")] = value
        monkeypatch.setattr(module, "uniform", lambda seed, epoch, samples, n: np.tile(row, (len(samples), 1)))

    return fix


def vary(images, config, seed=3, epoch=1):
    return augment(images, torch.arange(10, 10 + len(images)), config, seed, epoch)


def affine(images, angle=0.0, translate=(0, 0), scale=1.0, shear=0.0):
    return vision.affine(
        images, angle, list(translate), scale, [shear, 0.0], interpolation=InterpolationMode.BILINEAR, fill=[0.0]
    )


def test_zero_everywhere_gives_the_same_object(images):
    assert vary(images, AugmentConfig()) is images


def test_input_is_not_changed(images):
    before = images.clone()
    vary(images, ALL)
    assert torch.equal(images, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_shape_type_and_range(images, dtype):
    result = vary(images.to(dtype), ALL)
    assert result.shape == images.shape
    assert result.dtype == dtype
    assert 0 <= result.min() <= result.max() <= 1


def test_no_value_is_asked_of_the_device():
    """The meta device has none to give: the host can go on before a GPU is done."""
    config = AugmentConfig(rotate=10, zoom=0.1, translate=0.1, brightness=0.1, contrast=0.1, horizontal_flip=0.5)
    varied = augment(torch.empty(3, 3, 8, 8, device="meta"), torch.arange(3), config, seed=0, epoch=0)
    assert (varied.shape, varied.device.type) == ((3, 3, 8, 8), "meta")


def test_whole_numbers_are_refused(images):
    with pytest.raises(TypeError, match="to_unit first"):
        vary((images * 255).byte(), ALL)


@pytest.mark.parametrize("size", [(32, 48), (224, 160)])
def test_a_sample_does_not_depend_on_its_batch(size):
    batch = torch.rand(7, 3, *size, generator=torch.Generator().manual_seed(1))
    samples = torch.tensor([3, 99, 4, 0, 12, 70, 5])
    for config in (ALL, AugmentConfig(contrast=0.3), AugmentConfig(rotate=20, zoom=0.1)):
        together = augment(batch, samples, config, 0, 2)
        for part in ([0], [1], [6, 2], [5, 0, 3]):
            assert torch.equal(augment(batch[part], samples[part], config, 0, 2), together[part])


def test_a_sample_does_not_depend_on_the_number_of_threads():
    batch = torch.rand(3, 3, 224, 160, generator=torch.Generator().manual_seed(1))
    threads = torch.get_num_threads()
    try:
        results = []
        for number in (1, 2):
            torch.set_num_threads(number)
            results.append(vary(batch, ALL))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


def test_seed_epoch_and_sample_each_matter(images):
    same = images[:1].expand(3, -1, -1, -1)
    first = vary(same, ALL)
    assert torch.equal(first, vary(same, ALL))
    for other in (vary(same, ALL, seed=4), vary(same, ALL, epoch=2), first.roll(1, 0)):
        assert all((a - b).abs().max() > 0.01 for a, b in zip(first, other, strict=True))


def test_global_generators_are_left_alone(images):
    before = torch.random.get_rng_state()
    vary(images, ALL)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_quarter_turn_is_exact_on_a_square(images, fix_draws):
    fix_draws(ROTATE=1.0)
    square = images[..., 5:25, 5:25]
    torch.testing.assert_close(
        vary(square, AugmentConfig(rotate=90)), torch.rot90(square, -1, (2, 3)), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("draw", [0.0, 0.3, 0.9])
def test_rotation_agrees_with_torchvision_on_an_oblong_image(images, fix_draws, draw):
    fix_draws(ROTATE=draw)
    expected = affine(images, angle=30 * (2 * draw - 1))
    torch.testing.assert_close(vary(images, AugmentConfig(rotate=30)), expected, atol=1e-4, rtol=0)


def test_zoom_and_translation_agree_with_torchvision(images, fix_draws):
    fix_draws(ZOOM=1.0, SHIFT_X=1.0, SHIFT_Y=0.0)
    height, width = images.shape[-2:]
    expected = affine(images, scale=1.25, translate=(0.125 * width, -0.125 * height))
    torch.testing.assert_close(vary(images, AugmentConfig(zoom=0.25, translate=0.125)), expected, atol=1e-4, rtol=0)


def test_all_together_agree_with_torchvision(images, fix_draws):
    fix_draws(ROTATE=0.8, ZOOM=0.1, SHIFT_X=1.0, SHIFT_Y=1.0, SHEAR=0.9)
    config = AugmentConfig(rotate=40, zoom=0.2, translate=0.125, shear=10)
    height, width = images.shape[-2:]
    # torchvision's shear has the other sign.
    expected = affine(images, 24.0, (0.125 * width, 0.125 * height), 0.84, -8.0)
    torch.testing.assert_close(vary(images, config), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("axis", "dim"), [("horizontal", 3), ("vertical", 2)])
def test_flips(images, axis, dim):
    flipped = vary(images, AugmentConfig(**{f"{axis}_flip": 1.0}))
    torch.testing.assert_close(flipped, images.flip(dim), atol=1e-5, rtol=0)


def test_half_of_the_images_are_flipped(images):
    ramp = torch.linspace(0, 1, 8).expand(400, 1, 8, 8)
    flipped = vary(ramp, AugmentConfig(horizontal_flip=0.25))[:, 0, 0, 0] > 0.5
    assert 70 <= flipped.sum() <= 130


def test_brightness_is_a_factor(images, fix_draws):
    fix_draws(BRIGHTNESS=1.0)
    torch.testing.assert_close(vary(images, AugmentConfig(brightness=0.2)), (images * 1.2).clamp(max=1))


def test_contrast_agrees_with_torchvision(images, fix_draws):
    fix_draws(CONTRAST=0.0)
    grey = images[:, :1]
    expected = vision.adjust_contrast(grey, 0.7)
    torch.testing.assert_close(vary(grey, AugmentConfig(contrast=0.3)), expected, atol=2e-5, rtol=0)


def test_brightness_comes_before_contrast(images, fix_draws):
    fix_draws(BRIGHTNESS=0.0, CONTRAST=0.0)
    expected = vision.adjust_contrast(images[:, :1] * 0.8, 0.7)
    result = vary(images[:, :1], AugmentConfig(brightness=0.2, contrast=0.3))
    torch.testing.assert_close(result, expected, atol=2e-5, rtol=0)


def test_noise_is_normal_and_grey_stays_grey(fix_draws):
    fix_draws(NOISE=0.8)
    plain = torch.full((4, 3, 64, 64), 0.5)
    noise = vary(plain, AugmentConfig(noise=0.05)) - plain
    assert torch.equal(noise[:, 0], noise[:, 1])
    assert torch.equal(noise[:, 0], noise[:, 2])
    assert noise[:, 0].std() == pytest.approx(0.04, rel=0.03)
    assert noise[:, 0].mean() == pytest.approx(0, abs=0.002)
    images_apart = np.corrcoef(noise[:, 0].reshape(4, -1).numpy())
    assert np.abs(images_apart - np.eye(4)).max() < 0.06


def test_one_variation_does_not_change_the_draws_of_another(images):
    turned = vary(images, AugmentConfig(rotate=10))
    with_light = vary(images, AugmentConfig(rotate=10, brightness=1e-6))
    torch.testing.assert_close(turned, with_light, atol=1e-5, rtol=0)


def test_the_outside_is_black():
    assert vary(torch.ones(8, 1, 16, 16), AugmentConfig(rotate=45))[:, :, 0, 0].min() == 0


@pytest.mark.parametrize("file", sorted(GROUP.glob("*.yaml")), ids=lambda file: file.stem)
def test_each_choice_names_every_field(file, images):
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    config = msgspec.convert(values, AugmentConfig)
    assert set(values) == set(AugmentConfig.__struct_fields__)
    assert config.horizontal_flip == config.vertical_flip == 0
    assert (config == AugmentConfig()) == (file.stem == "none")
    assert vary(images, config).shape == images.shape


def test_the_choices_are_all_there():
    assert {file.stem for file in GROUP.glob("*.yaml")} == {"none", "rotate_zoom", "light", "strong"}
