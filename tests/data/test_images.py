"""Images kept or read anew are the same; nothing stale is given; what cannot be kept costs a warning."""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from medical_files import make_dicom
from PIL import Image
from torch import Tensor

from medimg.data import images as module
from medimg.data.cache import digests
from medimg.data.cache.entries import entries
from medimg.data.cache.opening import Cache
from medimg.data.images import ImageFiles, Images, KeptImages, Unreadable, depends_on, open_images
from medimg.data.manifest import Manifest, Record
from medimg.data.preprocessing import Preprocessing, Region, Resizing
from medimg.errors import RequestError

GREY = Preprocessing(8, 6, (0.5,), (0.25,), 1)
COLOUR = Preprocessing(8, 6, (0.5,) * 3, (0.25,) * 3, 3)
MODES = ("none", "disk", "memory")
Read = Callable[..., Tensor]


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """8 and 16 bits, DICOM, a size of its own for each, and `f.png`, which is broken."""
    noise = np.random.default_rng(0)
    root = tmp_path / "data"
    root.mkdir()
    for name in "abc":
        pixels = noise.integers(0, 256, (12, 10 + ord(name) % 5), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f"{name}.png", compress_level=0)
    Image.fromarray(noise.integers(0, 65536, (11, 9)).astype(np.uint16)).save(root / "d.png")
    make_dicom(root / "e.dcm", noise.integers(0, 4096, (9, 9), dtype=np.uint16))
    (root / "f.png").write_bytes(b"no image")
    names = ("a.png", "b.png", "c.png", "d.png", "e.dcm", "f.png")
    return Manifest(root, tuple(Record(name, "x", "train") for name in names), classes=("x",))


@pytest.fixture(autouse=True)
def _later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute after the files were written, when digests are remembered."""
    real = digests.time.time_ns
    monkeypatch.setattr(digests.time, "time_ns", lambda: real() + 60 * 10**9)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the images that are read from their files from now on."""
    paths: list[str] = []
    real: Read = Manifest.read

    def note(self: Manifest, record: Record, channels: Any) -> Tensor:
        paths.append(record.path)
        return real(self, record, channels)

    monkeypatch.setattr(Manifest, "read", note)
    return paths


def opened(manifest: Manifest, tmp_path: Path, mode: Any = "disk", preprocessing: Preprocessing = GREY) -> Images:
    return open_images(ImageFiles(manifest, preprocessing, threads=2), Cache(tmp_path / "cache", mode))


def same(one: Tensor | Unreadable, other: Tensor | Unreadable) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    return one == other


def tables(tmp_path: Path) -> int:
    return len(entries(tmp_path / "cache"))


@pytest.mark.parametrize("preprocessing", [GREY, COLOUR, replace(COLOUR, resizing="fit", region="border")])
@pytest.mark.parametrize("mode", MODES)
def test_the_same_from_every_cache(tmp_path: Path, manifest: Manifest, mode: str, preprocessing: Preprocessing) -> None:
    images = opened(manifest, tmp_path, mode, preprocessing)
    assert isinstance(images, ImageFiles if mode == "none" else KeptImages)
    order = [4, 0, 5, 3, 1, 0]
    plain = [ImageFiles(manifest, preprocessing)[position] for position in order]
    assert [type(image) for image in plain] == [Tensor, Tensor, Unreadable, Tensor, Tensor, Tensor]
    assert {image.dtype for image in plain if isinstance(image, Tensor)} == {torch.uint8, torch.uint16}
    for _ in range(3):
        found = images.load(order)
        assert all(map(same, found, plain))
    again = opened(manifest, tmp_path, mode, preprocessing).load(order)
    assert all(map(same, again, plain))


@pytest.mark.parametrize("mode", ["disk", "memory"])
def test_the_second_epoch_reads_no_file(tmp_path: Path, manifest: Manifest, mode: str, read: list[str]) -> None:
    images = opened(manifest, tmp_path, mode)
    everything = list(range(len(manifest.records)))
    images.load([0, 3])
    first = images.load(everything)
    read.clear()
    second = images.load(everything)
    assert read == ["f.png"], "what cannot be read is tried again, and told each time"
    assert all(map(same, first, second))


def test_another_run_reads_no_file_but_the_first(tmp_path: Path, manifest: Manifest, read: list[str]) -> None:
    opened(manifest, tmp_path).load([0, 1, 2, 3, 4])
    read.clear()
    opened(manifest, tmp_path).load([0, 1, 2, 3, 4])
    assert read == ["a.png"], "whose depth tells how much room is needed"


def test_an_unreadable_image_that_was_mended_is_read(tmp_path: Path, manifest: Manifest) -> None:
    (broken,) = opened(manifest, tmp_path).load([5])
    assert isinstance(broken, Unreadable)
    assert str(manifest.root / "f.png") in broken.message
    Image.new("L", (6, 8), 77).save(manifest.root / "f.png")
    (mended,) = opened(manifest, tmp_path).load([5])
    assert isinstance(mended, Tensor)
    assert mended.unique().tolist() == [77]


def changed(manifest: Manifest) -> Manifest:
    """Another picture of the same size in bytes, with its old time, as rsync leaves it."""
    file = manifest.root / "a.png"
    before = file.stat()
    image = np.asarray(Image.open(file)).copy()
    image[0, 0] ^= 255
    Image.fromarray(image).save(file, compress_level=0)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    return manifest


def renamed_over(manifest: Manifest) -> Manifest:
    (manifest.root / "b.png").rename(manifest.root / "a.png")
    (manifest.root / "c.png").rename(manifest.root / "b.png")
    return replace(manifest, records=manifest.records[:2])


def others(manifest: Manifest) -> Manifest:
    return replace(manifest, records=manifest.records[1:])


def framed(manifest: Manifest) -> Manifest:
    return replace(manifest, records=(replace(manifest.records[0], frame=0), *manifest.records[1:]))


def windowed(manifest: Manifest) -> Manifest:
    return replace(replace(manifest, records=manifest.records[4:5]), window="lung")


@pytest.mark.parametrize("change", [changed, renamed_over, others, framed, windowed])
def test_other_images_get_a_table_of_their_own(
    tmp_path: Path, manifest: Manifest, change: Callable[[Manifest], Manifest]
) -> None:
    everything = [0, 1, 2, 3, 4]
    opened(manifest, tmp_path).load(everything)
    if change is windowed:  # the same image with its own window first
        opened(replace(manifest, records=manifest.records[4:5]), tmp_path).load([0])
    before = tables(tmp_path)
    other = change(manifest)
    asked = [position for position in everything if position < len(other.records)]
    found = opened(other, tmp_path).load(asked)
    assert all(map(same, found, [ImageFiles(other, GREY)[position] for position in asked]))
    assert tables(tmp_path) == before + 1


VARIED = [
    {"height": 7},
    {"width": 7},
    {"height": 6, "width": 8},
    *({"resizing": one} for one in get_args(Resizing) if one != "stretch"),
    *({"region": one} for one in get_args(Region) if one != "whole"),
]


@pytest.mark.parametrize("change", VARIED, ids=str)
def test_what_is_done_to_images_is_told_apart(tmp_path: Path, manifest: Manifest, change: dict[str, Any]) -> None:
    opened(manifest, tmp_path).load([0, 1])
    other = replace(GREY, **change)
    found = opened(manifest, tmp_path, "disk", other).load([0, 1])
    assert all(map(same, found, [ImageFiles(manifest, other)[position] for position in (0, 1)]))
    assert tables(tmp_path) == 2


def test_what_changes_no_pixel_shares_a_table(tmp_path: Path, manifest: Manifest, read: list[str]) -> None:
    """Another normalisation, split, label or patient; and the same images at another place."""
    opened(manifest, tmp_path).load([0, 1])
    there = tmp_path / "moved"
    manifest.root.rename(there)
    records = tuple(replace(one, split="val", label="y", patient_id="p") for one in manifest.records)
    other = replace(manifest, root=there, records=records, classes=("y",))
    images = opened(other, tmp_path, "disk", replace(GREY, mean=(0.0,), std=(1.0,)))
    read.clear()
    images.load([0, 1])
    assert read == []
    assert tables(tmp_path) == 1


def test_code_and_libraries_are_part_of_it(tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    first = depends_on(manifest, GREY, cache)
    assert depends_on(manifest, GREY, cache) == first
    monkeypatch.setattr(module, "code_digest", lambda *places: "other")
    assert depends_on(manifest, GREY, cache) != first
    monkeypatch.undo()
    monkeypatch.setattr(module, "versions_of", lambda packages: {"pillow": "0"})
    assert depends_on(manifest, GREY, cache) != first
    code = {file.name for place in module._CODE for file in ([place] if place.is_file() else place.glob("*.py"))}
    assert {"pictures.py", "dicom.py", "nifti.py", "npz.py", "common.py", "preprocessing.py", "windows.py"} <= code


def test_a_full_disk_costs_a_warning_and_no_image(
    tmp_path: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    images = opened(manifest, tmp_path)
    tried: list[int] = []

    def full(row: int, _: object) -> None:
        tried.append(row)
        raise OSError(28, "No space left on device")

    assert isinstance(images, KeptImages)
    monkeypatch.setattr(images.rows, "put", full)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            found = images.load([0, 1, 3])
            assert all(map(same, found, [ImageFiles(manifest, GREY)[position] for position in (0, 1, 3)]))
    assert tried == [0], "it is not tried again and again"
    assert caplog.text.count("no longer cached") == 1
    assert "No space left" in caplog.text


def test_what_changes_while_a_run_goes_on_is_not_kept_and_that_is_said(
    tmp_path: Path, manifest: Manifest, read: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    images = opened(manifest, tmp_path)
    for name in ("a.png", "b.png"):
        os.utime(manifest.root / name, ns=(1, 1))
    with caplog.at_level(logging.WARNING):
        images.load([0, 1, 2])
    read.clear()
    images.load([0, 1, 2])
    assert read == ["a.png", "b.png"]
    assert caplog.text.count("changed after this run began") == 1


def test_a_damaged_row_is_read_from_its_file(tmp_path: Path, manifest: Manifest) -> None:
    opened(manifest, tmp_path).load([0, 1, 3])
    (table,) = entries(tmp_path / "cache")
    for name in ("uint8.rows", "uint16.rows"):
        content = bytearray((table.folder / name).read_bytes())
        content[5] ^= 1
        content[-5] ^= 1
        (table.folder / name).write_bytes(content)
    found = opened(manifest, tmp_path).load([0, 1, 3])
    assert all(map(same, found, [ImageFiles(manifest, GREY)[position] for position in (0, 1, 3)]))


def test_a_cleared_cache_goes_on_for_who_has_it_open(tmp_path: Path, manifest: Manifest) -> None:
    from medimg.data.cache.contents import clear

    images = opened(manifest, tmp_path)
    images.load([0])
    clear(tmp_path / "cache")
    assert tables(tmp_path) == 0
    found = images.load([0, 3])
    assert all(map(same, found, [ImageFiles(manifest, GREY)[position] for position in (0, 3)]))


def test_windows_that_do_not_go_with_the_channels_are_refused(tmp_path: Path, manifest: Manifest) -> None:
    several = replace(manifest, window=("lung", "bone", "mediastinum"))
    for mode in MODES:
        with pytest.raises(RequestError, match="channel"):
            opened(several, tmp_path, mode)


def test_no_images_need_no_table(tmp_path: Path, manifest: Manifest) -> None:
    assert opened(replace(manifest, records=()), tmp_path).load([]) == []
    assert tables(tmp_path) == 0
