"""Maps over images: what stays as it is, what is coloured, and colours that everybody can tell apart."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from medimg.reporting.overlay import overlay, write_overlay


def test_where_the_map_is_zero_the_image_shows() -> None:
    image = torch.randint(0, 256, (3, 8, 10), dtype=torch.uint8)
    weight = torch.zeros(8, 10)
    assert np.array_equal(overlay(image, weight), image.permute(1, 2, 0).numpy())
    weight[2, 3] = 1.0
    changed = (overlay(image, weight) != image.permute(1, 2, 0).numpy()).any(axis=2)
    assert np.argwhere(changed).tolist() == [[2, 3]]


def test_a_full_map_is_blended_with_the_end_of_the_colours() -> None:
    pixels = overlay(torch.zeros(1, 1, 1), torch.ones(1, 1), strength=1.0)
    assert pixels.dtype == np.uint8 and pixels.tolist() == [[[253, 231, 37]]]  # viridis ends so
    half = overlay(torch.ones(1, 1, 1), torch.ones(1, 1), strength=0.5)
    assert half[0, 0] == pytest.approx((np.array([253, 231, 37]) + 255) / 2, abs=1)


def test_more_is_lighter_for_every_eye() -> None:
    """On black, luminance rises with the map throughout, so no two values are told apart by hue alone."""
    pixels = overlay(torch.zeros(3, 1, 50), torch.linspace(0.02, 1, 50)[None], strength=1.0)
    linear = (pixels[0] / 255.0) ** 2.2
    assert (np.diff(linear @ [0.2126, 0.7152, 0.0722]) > 0).all()


def test_grey_and_floats_are_as_8_bit_colour() -> None:
    grey = torch.randint(0, 256, (1, 6, 6), dtype=torch.uint8)
    weight = torch.rand(6, 6)
    expected = overlay(grey.repeat(3, 1, 1), weight)
    assert np.array_equal(overlay(grey, weight), expected)
    assert np.array_equal(overlay(grey.float() / 255, weight), expected)


def test_a_map_of_another_size_is_an_error() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        overlay(torch.zeros(1, 4, 4), torch.zeros(2, 2))


def test_the_file_has_the_image_beside_the_overlay(tmp_path: Path) -> None:
    image, weight = torch.randint(0, 256, (1, 5, 7), dtype=torch.uint8), torch.rand(5, 7)
    write_overlay(tmp_path / "new" / "map.png", image, weight)
    pixels = np.array(Image.open(tmp_path / "new" / "map.png"))
    assert pixels.shape == (5, 7 + 4 + 7, 3)
    assert np.array_equal(pixels[:, :7, 0], image[0].numpy())
    assert np.array_equal(pixels[:, 11:], overlay(image, weight))
