import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from medimg.data.preprocessing import Preprocessing

IMAGENET = Preprocessing(8, 6, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 3)


@pytest.fixture
def image():
    return torch.randint(0, 256, (3, 20, 31), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_resize_agrees_with_pillow_and_stretches(image):
    resized = IMAGENET.resize(image)
    assert resized.dtype == torch.uint8
    assert resized.shape == (3, 8, 6)
    expected = np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).resize((6, 8), Image.Resampling.BILINEAR))
    assert (resized.permute(1, 2, 0).int() - torch.tensor(expected).int()).abs().max() <= 1


def test_float_stays_float_and_in_range(image):
    resized = IMAGENET.resize(image.float() / 255)
    assert resized.dtype == torch.float32
    assert 0 <= resized.min() <= resized.max() <= 1
    torch.testing.assert_close(resized * 255, IMAGENET.resize(image).float(), atol=1, rtol=0)


def test_the_right_size_is_not_touched():
    image = torch.zeros(3, 8, 6)
    assert IMAGENET.resize(image) is image


def test_to_unit():
    assert IMAGENET.to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8)).tolist() == pytest.approx([0, 0.2, 1])
    floats = torch.rand(2, 3)
    assert IMAGENET.to_unit(floats) is floats


def test_normalise_agrees_with_torchvision_and_goes_back(image):
    batch = IMAGENET.to_unit(image.expand(4, -1, -1, -1))
    normal = IMAGENET.normalise(batch)
    torch.testing.assert_close(normal, v2.Normalize(list(IMAGENET.mean), list(IMAGENET.std))(batch))
    torch.testing.assert_close(IMAGENET.normalise(batch[0]), normal[0])


@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16])
def test_whole_numbers_are_normalised_in_one_go(depth):
    whole = torch.arange(0, 255, 5).view(1, 3, 17, 1).to(torch.int32) * (torch.iinfo(depth).max // 255)
    unit = IMAGENET.to_unit(whole.to(depth))
    expected = v2.Normalize(list(IMAGENET.mean), list(IMAGENET.std))(unit)
    torch.testing.assert_close(IMAGENET.normalise(whole.to(depth)), expected)
    torch.testing.assert_close(IMAGENET.normalise(whole.to(depth), IMAGENET.scale_and_shift()), expected)


def test_without_normalisation(image):
    plain = IMAGENET.without_normalisation()
    assert plain == Preprocessing(8, 6, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 3)
    batch = plain.to_unit(image)
    assert plain.normalise(batch) is batch


def test_the_dictionary_survives_a_checkpoint_and_json():
    stream = io.BytesIO()
    torch.save({"preprocessing": IMAGENET.as_dict()}, stream)
    stream.seek(0)
    loaded = torch.load(stream, weights_only=True)["preprocessing"]
    assert loaded == IMAGENET.as_dict()
    assert json.loads(json.dumps(IMAGENET.as_dict())) == IMAGENET.as_dict()


def test_channels_must_fit():
    with pytest.raises(ValueError, match="one number for each of 1 channels"):
        Preprocessing(8, 8, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 1)


@pytest.mark.parametrize(
    ("size", "inner"),
    [((16, 6), (8, 3)), ((4, 16), (2, 6)), ((8, 6), (8, 6)), ((4, 3), (8, 6)), ((1, 600), (1, 6)), ((9, 6), (8, 5))],
)
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_fit_keeps_the_ratio_and_centres(size: tuple[int, int], inner: tuple[int, int], kind: torch.dtype) -> None:
    fitted = replace(IMAGENET, resizing="fit").resize(torch.ones(3, *size, dtype=kind))
    assert fitted.shape == (3, 8, 6)
    assert fitted.dtype == kind
    top, left = (8 - inner[0]) // 2, (6 - inner[1]) // 2
    expected = torch.zeros(8, 6)
    expected[top : top + inner[0], left : left + inner[1]] = 1
    assert torch.equal((fitted > 0.5).float(), expected.expand(3, 8, 6))
    assert fitted[fitted <= 0.5].sum() == 0


def test_fit_scales_as_pillow_does() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 20), dtype=np.uint8)
    fitted = Preprocessing(16, 16, (0.5,), (0.5,), 1, "fit").resize(torch.from_numpy(pixels)[None])
    expected = np.asarray(Image.fromarray(pixels).resize((8, 16), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(fitted[0, :, 4:12].numpy().astype(int) - expected).max() <= 1
    assert fitted[0, :, :4].max() == fitted[0, :, 12:].max() == 0


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_border_and_center_are_the_whole_image_in_two_parts(kind: torch.dtype) -> None:
    image = torch.ones(1, 16, 24, dtype=kind)
    seen = {
        region: Preprocessing(16, 24, (0.5,), (0.5,), 1, region=region).show_region(image)
        for region in ("whole", "border", "center")
    }
    assert torch.equal(seen["border"] + seen["center"], seen["whole"])
    assert seen["center"].sum() == (16 - 2 * 2) * (24 - 2 * 3)  # an eighth is left out on each side
    assert seen["center"][0, 2:-2, 3:-3].all()
    assert {part.dtype for part in seen.values()} == {kind}


def test_what_is_deeper_than_8_bits_becomes_16() -> None:
    """65536 values are kept apart, as in a 16-bit file; what lies outside 0..1 is cut."""
    prepared = Preprocessing(1, 4, (0.5,), (0.5,), 1).prepare(torch.tensor([[[-0.1, 13107 / 65535, 1.0, 1.2]]]))
    assert prepared.dtype == torch.uint16
    assert prepared.flatten().tolist() == [0, 13107, 65535, 65535]
    assert Preprocessing.to_unit(prepared).flatten().tolist() == pytest.approx([0, 0.2, 1, 1])
