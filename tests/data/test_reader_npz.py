import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from medical_files import make_medmnist

from medimg.config.data import ManifestConfig, MedMNISTConfig
from medimg.data.load import load_manifest
from medimg.data.manifest import write_manifest_csv
from medimg.data.readers import read_image
from medimg.data.readers.npz import image_members, read_array
from medimg.errors import RequestError

COUNTS = {"train": 12, "val": 4, "test": 4}


def config(file: Path, **options: object) -> MedMNISTConfig:
    return MedMNISTConfig(root=str(file), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3), (28, 28, 1)])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_rows_of_an_archive(tmp_path: Path, shape: tuple[int, ...], save: Callable[..., None]) -> None:
    file = make_medmnist(tmp_path / "x.npz", COUNTS, classes=2, shape=shape)
    arrays = dict(np.load(file))
    save(file, **arrays)
    manifest = load_manifest(config(file), tmp_path)
    assert manifest.counts() == {split: {"0": n // 2, "1": n // 2} for split, n in COUNTS.items()}
    assert [record.path for record in manifest.of("val")] == ["val/0", "val/1", "val/2", "val/3"]
    for split in ("train", "val", "test"):
        for row, record in enumerate(manifest.of(split)):
            image = read_image(manifest.file(record), 3, frame=record.frame).numpy()
            pixels = arrays[f"{split}_images"][row].reshape(28, 28, -1)
            assert np.array_equal(image, np.broadcast_to(pixels, (28, 28, 3)).transpose(2, 0, 1))
            assert record.label == str(arrays[f"{split}_labels"][row, 0])
    assert read_image(file, 1, frame=0).dtype == image.dtype or image.dtype == np.uint8


def test_uncompressed_archives_are_mapped_and_others_read_once(tmp_path: Path) -> None:
    file = make_medmnist(tmp_path / "x.npz", COUNTS)
    member = image_members(file)["train"]
    assert read_array(file, member) is read_array(file, member)
    np.savez(tmp_path / "y.npz", **dict(np.load(file)))
    mapped = read_array(tmp_path / "y.npz", image_members(tmp_path / "y.npz")["train"])
    assert isinstance(mapped, np.memmap)


def test_mnist_as_keras_ships_it(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    file = tmp_path / "mnist.npz"
    np.savez(file, x_train=images[:30], y_train=np.arange(30) % 11, x_test=images[30:], y_test=np.arange(10))
    manifest = load_manifest(config(file, val_fraction=0), tmp_path)
    assert manifest.classes == tuple(f"{n:02d}" for n in range(11))
    assert list(manifest.counts()) == ["train", "test"]
    record = manifest.of("test")[3]
    assert (record.path, record.label) == ("test/3", "03")
    assert np.array_equal(read_image(manifest.file(record), 1, frame=record.frame).numpy()[0], images[33])


def test_named_classes_and_the_way_back_from_a_written_manifest(tmp_path: Path) -> None:
    file = make_medmnist(tmp_path / "x.npz", COUNTS)
    manifest = load_manifest(config(file, classes=("well", "sick")), tmp_path)
    assert [record.label for record in manifest.of("train")[:2]] == ["well", "sick"]
    csv = tmp_path / "run" / "manifest.csv"
    write_manifest_csv(manifest, csv)
    assert csv.read_text().startswith("path,label,split,patient_id,medimg_file,medimg_frame\n")
    for given in (ManifestConfig(root=str(csv), classes=("well", "sick")), config(csv, classes=("well", "sick"))):
        again = load_manifest(given, tmp_path)
        assert [record.frame for record in again.records] == [record.frame for record in manifest.records]
        assert again.fingerprint() == manifest.fingerprint()


def test_the_fingerprint_opens_an_archive_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = load_manifest(config(make_medmnist(tmp_path / "x.npz", COUNTS)), tmp_path)
    opened: list[Path] = []
    original = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, *given, **named: (opened.append(self), original(self, *given, **named))[1]
    )
    manifest.fingerprint()
    assert len(opened) == 1


ONES, LABELS = np.ones((4, 8, 8), np.uint8), np.arange(4) % 2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": ONES}, "the archive holds 'a'. Expected: train_images"),
        ({"train_images": ONES}, "train_labels is missing"),
        ({"train_images": ONES, "train_labels": LABELS[:3]}, r"4 images, and train_labels the shape \(3,\)"),
        ({"train_images": ONES, "train_labels": np.ones((4, 14))}, "14 labels an image"),
        ({"train_images": np.ones((4, 8, 8, 8), np.uint8), "train_labels": LABELS}, "holds volumes"),
        ({"train_images": ONES, "train_labels": LABELS - 0.5}, "numbers of classes"),
        ({"train_images": ONES, "train_labels": LABELS - 1}, "numbers of classes"),
        ({"train_images": ONES.astype(str), "train_labels": LABELS}, "expected are pictures"),
        ({"train_images": ONES, "train_labels": np.array([0, 1, 0, None])}, "Python objects, which are never loaded"),
        ({"train_images": np.array([{}], dtype=object), "train_labels": LABELS[:1]}, "expected are pictures"),
        ({"train_images": np.uint8(3), "train_labels": LABELS}, "single number"),
        ({"train_images": ONES, "train_labels": LABELS + 2}, "reach to 3, and data.classes has 2"),
    ],
)
def test_archives_that_cannot_be_learnt_from(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=message):
        load_manifest(config(tmp_path / "x.npz", classes=("a", "b")), tmp_path)


def test_no_archive(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 and no more")
    for root, message in (("x.npz", "no archive"), ("none.npz", "does not exist"), (".", "is a folder")):
        with pytest.raises(RequestError, match=message):
            load_manifest(config(tmp_path / root), tmp_path)
    with pytest.raises(RequestError, match=r"data.root is needed: the .npz archive"):
        load_manifest(MedMNISTConfig(), tmp_path)
    with pytest.raises(RequestError, match="Hounsfield"):
        load_manifest(config(make_medmnist(tmp_path / "x.npz", COUNTS), window="lung"), tmp_path)


def test_a_claimed_size_is_not_believed(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("train_images", "train_labels"):
            header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (9000000, 999, 999), }".ljust(117) + b"\n"
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00\x76\x00" + header)
    with pytest.raises(RequestError, match="damaged"):
        load_manifest(config(tmp_path / "x.npz"), tmp_path)
