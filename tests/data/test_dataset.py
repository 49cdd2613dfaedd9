import pickle
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from lightning.fabric.utilities import move_data_to_device
from medical_files import make_dicom
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data._utils.pin_memory import pin_memory

from medimg.data.dataset import Batch, ImageDataset, collate, raise_unreadable
from medimg.data.images import ImageFiles, Unreadable
from medimg.data.manifest import Manifest, Record
from medimg.data.preprocessing import Preprocessing
from medimg.errors import RequestError

GREY = Preprocessing(8, 8, (0.5,), (0.25,), 1)


@pytest.fixture
def manifest(tmp_path):
    """Constant images 12x10: the value of image n is 10 n; `e.png` has 16 bits, `f.png` is broken."""
    for number, name in enumerate("abcd"):
        Image.new("L", (12, 10), number * 10).save(tmp_path / f"{name}.png")
    Image.fromarray(np.full((10, 12), 13107, dtype=np.uint16)).save(tmp_path / "e.png")
    (tmp_path / "f.png").write_bytes(b"no image")
    labels = {"a": "sick", "b": "well", "c": "sick", "d": "well", "e": "sick", "f": "well"}
    splits = {"a": "val", "b": "train", "c": "train", "d": "train", "e": "test", "f": "test"}
    records = tuple(Record(f"{name}.png", labels[name], splits[name]) for name in "abcdef")
    return Manifest(root=tmp_path, records=records, classes=("well", "sick"))


def dataset_of(manifest, split, preprocessing=GREY):
    return ImageDataset(manifest, split, ImageFiles(manifest, preprocessing))


def load(dataset, batch_size=8, workers=0):
    return list(DataLoader(dataset, batch_size=batch_size, num_workers=workers, collate_fn=collate))


def test_one_split_with_labels_and_positions(manifest):
    dataset = dataset_of(manifest, "train")
    assert len(dataset) == 3
    assert dataset.labels == [0, 1, 0]
    (batch,) = load(dataset)
    assert batch.image.dtype == torch.uint8
    assert batch.image.shape == (3, 1, 8, 8)
    assert batch.image[:, 0, 4, 4].tolist() == [10, 20, 30]
    assert batch.label.tolist() == [0, 1, 0]
    assert batch.index.tolist() == [1, 2, 3]
    assert batch.label.dtype == batch.index.dtype == torch.int64
    assert batch.unreadable == ()


def test_channels_are_those_of_the_preprocessing(manifest):
    colour = Preprocessing(8, 8, (0.5,) * 3, (0.25,) * 3, 3)
    assert load(dataset_of(manifest, "train", colour))[0].image.shape == (3, 3, 8, 8)


def test_deep_images_make_the_whole_batch_float(manifest):
    deep = dataset_of(manifest, "test")[0]
    plain = dataset_of(manifest, "train")[1]
    batch = collate([plain, deep])
    assert batch.image.dtype == torch.float32
    assert batch.image[:, 0, 0, 0].tolist() == pytest.approx([20 / 255, 0.2])


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_travels_to_the_main_process(manifest, workers):
    (batch,) = load(dataset_of(manifest, "test"), workers=workers)
    assert len(batch.image) == len(batch.label) == len(batch.index) == 1
    assert [item.path for item in batch.unreadable] == ["f.png"]
    with pytest.raises(RequestError) as caught:
        raise_unreadable(batch)
    first, hint = str(caught.value).splitlines()
    assert first == batch.unreadable[0].message
    assert "data.on_error=skip" in hint
    assert str(manifest.root / "f.png") in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_batch_of_unreadable_images_only(manifest):
    *_, batch = load(dataset_of(manifest, "test"), batch_size=1)
    assert len(batch.image) == len(batch.label) == len(batch.index) == 0
    assert batch.label.dtype == torch.int64
    with pytest.raises(RequestError, match=r"f\.png"):
        raise_unreadable(batch)


def test_a_missing_file_is_unreadable(manifest):
    (manifest.root / "b.png").unlink()
    assert isinstance(dataset_of(manifest, "train")[0], Unreadable)


def test_readable_batches_raise_nothing(manifest):
    raise_unreadable(load(dataset_of(manifest, "train"))[0])


def test_many_unreadable_images_are_counted():
    items = [Unreadable(f"{number}.png", f"{number}.png: broken") for number in range(5)]
    with pytest.raises(RequestError) as caught:
        raise_unreadable(collate(items))
    assert str(caught.value).splitlines() == [
        "0.png: broken", "1.png: broken", "2.png: broken", "... and 2 more in the same batch.",
        "  data.on_error=skip reads all images before training and leaves out those that cannot be read."
    ]  # fmt: skip


def test_images_are_seen_through_the_window_of_the_manifest(tmp_path):
    stored = np.arange(80, dtype=np.uint16).reshape(8, 10) * 50
    make_dicom(tmp_path / "x.dcm", stored)
    whole = Manifest(tmp_path, (Record("x.dcm", "a", "train"),), classes=("a", "b"), window="lung")
    image, _, _ = dataset_of(whole, "train", Preprocessing(8, 10, (0.5,), (0.25,), 1))[0]
    expected = np.clip((stored - 1024.0 + 1350) / 1500, 0, 1)
    assert image.dtype == torch.uint16
    assert np.allclose(Preprocessing.to_unit(image)[0], expected, atol=1e-5)
    three = replace(whole, window=["lung", "bone", "mediastinum"])
    with pytest.raises(RequestError, match="3 windows as channels, and the model takes 1"):
        dataset_of(three, "train")


def test_what_a_setting_cures_is_not_said_to_be_skippable(manifest):
    (batch,) = load(dataset_of(replace(manifest, window="lung"), "val"))
    with pytest.raises(RequestError, match=r"a\.png: data\.window needs Hounsfield units") as caught:
        raise_unreadable(batch)
    assert "on_error" not in str(caught.value)


def test_a_batch_survives_pickling_and_the_transfer_to_a_device(manifest, monkeypatch):
    (batch,) = load(dataset_of(manifest, "test"))
    # Pinning needs a GPU; what it does to containers does not.
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: tensor)
    for copy in (
        pickle.loads(ForkingPickler.dumps(batch)),  # as worker processes send it
        move_data_to_device(batch, torch.device("cpu")),
        move_data_to_device(batch, torch.device("meta")),
        pin_memory(batch),
    ):
        assert isinstance(copy, Batch)
        assert copy.unreadable == batch.unreadable
        assert isinstance(copy.unreadable[0], Unreadable)
        assert copy.image.shape == batch.image.shape
        assert copy.index.tolist() == batch.index.tolist()  # on the host, wherever the images are


def test_an_empty_split(manifest):
    empty = Manifest(root=manifest.root, records=manifest.records[:1], classes=manifest.classes)
    assert len(dataset_of(empty, "train")) == 0
