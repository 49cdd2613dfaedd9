import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from medimg.data.readers import read_image
from medimg.errors import RequestError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
DEEP = np.array([[0, 1, 255, 256], [257, 32768, 65534, 65535]], dtype=np.uint16)


def luma(colour: NDArray[np.uint8]) -> NDArray[np.float64]:
    return colour.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def save(folder: Path, image: Image.Image, name: str, **options: object) -> Path:
    image.save(folder / name, **options)  # type: ignore[arg-type]
    return folder / name


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "pgm", "gif"])
def test_grey(tmp_path: Path, suffix: str) -> None:
    file = save(tmp_path, Image.fromarray(GREY), f"x.{suffix}")
    one, three = read_image(file, 1), read_image(file, 3)
    assert one.dtype == three.dtype == torch.uint8
    assert np.array_equal(one.numpy(), GREY[None])
    assert np.array_equal(three.numpy(), np.stack([GREY] * 3))
    assert three.is_contiguous()


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_colour(tmp_path: Path, suffix: str) -> None:
    file = save(tmp_path, Image.fromarray(COLOUR), f"x.{suffix}")
    assert np.array_equal(read_image(file, 3).numpy(), COLOUR.transpose(2, 0, 1))
    assert np.abs(read_image(file, 1).numpy()[0] - luma(COLOUR)).max() <= 1


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_lossy_formats_are_near(tmp_path: Path, suffix: str) -> None:
    ramp = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (32, 1))
    file = save(tmp_path, Image.fromarray(ramp), f"x.{suffix}", quality=95)
    assert np.abs(read_image(file, 1).numpy()[0].astype(int) - ramp).max() <= 6


def test_transparency_is_dropped_and_colours_kept(tmp_path: Path) -> None:
    alpha = np.zeros((6, 5), dtype=np.uint8)
    rgba = save(tmp_path, Image.fromarray(np.dstack([COLOUR, alpha])), "rgba.png")
    assert np.array_equal(read_image(rgba, 3).numpy(), COLOUR.transpose(2, 0, 1))
    la = save(tmp_path, Image.fromarray(np.dstack([GREY, alpha])), "la.png")
    assert np.array_equal(read_image(la, 1).numpy()[0], GREY)
    assert np.array_equal(read_image(la, 3).numpy()[2], GREY)


@pytest.mark.parametrize("options", [{}, {"transparency": 1}])
def test_palette(tmp_path: Path, options: dict[str, int]) -> None:
    colours = np.array([[10, 20, 30], [200, 100, 50], [7, 7, 7]], dtype=np.uint8)
    index = RNG.integers(0, 3, (6, 5), dtype=np.uint8)
    image = Image.fromarray(index).convert("L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette(colours.tobytes())
    file = save(tmp_path, image, "p.png", **options)
    assert np.array_equal(read_image(file, 3).numpy(), colours[index].transpose(2, 0, 1))
    assert np.abs(read_image(file, 1).numpy()[0] - luma(colours)[index]).max() <= 1


def test_cmyk(tmp_path: Path) -> None:
    ink = np.zeros((2, 2, 4), dtype=np.uint8)
    ink[0, 0] = (255, 0, 0, 0)
    ink[1, 1] = (0, 0, 0, 255)
    file = save(tmp_path, Image.frombytes("CMYK", (2, 2), ink.tobytes()), "x.tif")
    pixels = read_image(file, 3).numpy().transpose(1, 2, 0)
    assert pixels[0, 0].tolist() == [0, 255, 255]
    assert pixels[0, 1].tolist() == [255, 255, 255]
    assert pixels[1, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_one_bit(tmp_path: Path, suffix: str) -> None:
    bits = RNG.integers(0, 2, (6, 9)).astype(bool)
    file = save(tmp_path, Image.fromarray(bits), f"x.{suffix}")
    assert np.array_equal(read_image(file, 3).numpy()[1], bits * 255)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    file = save(tmp_path, Image.fromarray(DEEP), f"x.{suffix}")
    one, three = read_image(file, 1), read_image(file, 3)
    assert one.dtype == three.dtype == torch.float32
    assert np.array_equal(one.numpy()[0], (DEEP / 65535).astype(np.float32))
    assert all(torch.equal(plane, one[0]) for plane in three)
    assert len(one.unique()) == DEEP.size


def test_big_endian(tmp_path: Path) -> None:
    file = save(tmp_path, Image.frombytes("I;16B", (4, 2), DEEP.astype(">u2").tobytes()), "x.tif")
    assert np.array_equal(read_image(file, 1).numpy()[0], (DEEP / 65535).astype(np.float32))


def test_32_bits_within_range(tmp_path: Path) -> None:
    integer = save(tmp_path, Image.fromarray(DEEP.astype(np.int32)), "i.tif")
    assert np.array_equal(read_image(integer, 1).numpy()[0], (DEEP / 65535).astype(np.float32))
    floating = (DEEP / 65535).astype(np.float32)
    assert np.array_equal(read_image(save(tmp_path, Image.fromarray(floating), "f.tif"), 1).numpy()[0], floating)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[-1000, 3000]], dtype=np.int32), "from -1000 to 3000; allowed are 0 to 65535"),
        (np.array([[0, 70000]], dtype=np.int32), "from 0 to 70000"),
        (np.array([[0, 255]], dtype=np.float32), "floating point.*allowed are 0 to 1"),
        (np.array([[0, np.nan]], dtype=np.float32), "nan"),
    ],
)
def test_32_bits_out_of_range(tmp_path: Path, values: NDArray[np.generic], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        read_image(save(tmp_path, Image.fromarray(values), "x.tif"), 1)


@pytest.mark.parametrize(("name", "pixels"), [("x.png", COLOUR), ("deep.png", DEEP)])
def test_exif_turns_the_image(tmp_path: Path, name: str, pixels: NDArray[np.generic]) -> None:
    plain = read_image(save(tmp_path, Image.fromarray(pixels), "plain.png"), 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown upright after a quarter turn to the right
    turned = read_image(save(tmp_path, Image.fromarray(pixels), name, exif=exif), 3)
    assert torch.equal(turned, torch.rot90(plain, -1, (1, 2)))


def test_any_size(tmp_path: Path) -> None:
    assert read_image(save(tmp_path, Image.new("L", (1, 1)), "x.png"), 3).shape == (3, 1, 1)
    assert read_image(save(tmp_path, Image.new("RGB", (700, 3)), "x.png"), 1).shape == (1, 3, 700)


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp"])
def test_several_pictures_are_refused(tmp_path: Path, suffix: str) -> None:
    other = Image.fromarray(255 - COLOUR)
    file = save(tmp_path, Image.fromarray(COLOUR), f"x.{suffix}", save_all=True, append_images=[other])
    with pytest.raises(RequestError, match="holds 2 pictures"):
        read_image(file, 1)


def test_previews_in_a_jpeg_are_no_second_picture(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (8, 8), "white"), Image.new("RGB", (8, 8), "black")
    file = save(tmp_path, first, "x.jpg", format="MPO", save_all=True, append_images=[second])
    assert read_image(file, 1).min() > 250


def halved(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp", "gif", "pgm"])
def test_truncated(tmp_path: Path, suffix: str) -> None:
    noise = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    file = save(tmp_path, Image.fromarray(noise), f"x.{suffix}")
    halved(file)
    with pytest.raises(RequestError, match=f"{re.escape(str(file))}: the image cannot be read: .+"):
        read_image(file, 1)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda file: file.write_bytes(b""), "0 bytes"),
        (lambda file: file.write_text("hello"), "no image of a known format"),
        (lambda file: Image.new("RGB", (4, 4)).save(file, format="EPS"), "no image of a known format"),
        (lambda file: file.unlink(), "No such file"),
        (lambda file: (file.unlink(), file.mkdir()), "directory"),
    ],
)
def test_unreadable(tmp_path: Path, spoil: Callable[[Path], object], reason: str) -> None:
    file = save(tmp_path, Image.fromarray(GREY), "x.png")
    spoil(file)
    with pytest.raises(RequestError, match=reason) as caught:
        read_image(file, 3)
    assert str(file) in str(caught.value)


def test_decompression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path, Image.fromarray(GREY), "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(RequestError, match="exceeds limit"):
        read_image(file, 1)


@pytest.mark.filterwarnings(
    "error::pytest.PytestUnraisableExceptionWarning", "error::ResourceWarning", "ignore:Corrupt EXIF"
)
def test_files_are_closed(tmp_path: Path) -> None:
    files = [save(tmp_path, Image.fromarray(GREY), "x.png"), save(tmp_path, Image.fromarray(GREY), "y.tif")]
    halved(files[1])
    read_image(files[0], 1)
    with pytest.raises(RequestError):
        read_image(files[1], 1)
    for file in files:
        file.unlink()
