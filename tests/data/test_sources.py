import logging
import os
import sys
from pathlib import Path

import pytest

from medimg.data.manifest import Record
from medimg.data.sources import read_manifest_source, scan_folder
from medimg.errors import RequestError


def touch(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def test_class_folders_alone(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "a/deep/er/2.JPG", "b/3.tiff", "b/.hidden.png", ".git/x.png", "__MACOSX/a/1.png")
    manifest = scan_folder(tmp_path)
    assert manifest.root == tmp_path
    assert manifest.records == (Record("a/1.png", "a"), Record("a/deep/er/2.JPG", "a"), Record("b/3.tiff", "b"))


@pytest.mark.parametrize("names", [("train", "val", "test"), ("Training", "VALID", "Testing"), ("train", "validation")])
def test_split_folders_in_any_subset(tmp_path: Path, names: tuple[str, ...]) -> None:
    touch(tmp_path, *(f"{name}/{label}/1.png" for name in names for label in "ab"))
    expected = dict(zip(names, ("train", "val", "test"), strict=False))
    found = {record.path: (record.split, record.label) for record in scan_folder(tmp_path).records}
    assert found == {f"{name}/{label}/1.png": (expected[name], label) for name in names for label in "ab"}


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    touch(tmp_path / "store", "1.png", "2.png")
    touch(tmp_path / "data", "b/3.png")
    (tmp_path / "data/a").symlink_to(tmp_path / "store")
    (tmp_path / "store/again").symlink_to(tmp_path / "store")
    assert [record.path for record in scan_folder(tmp_path / "data").records] == ["a/1.png", "a/2.png", "b/3.png"]
    (tmp_path / "data/b/broken.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(RequestError, match=r"broken\.png"):
        scan_folder(tmp_path / "data")


def test_other_files_and_stray_folders_are_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "train/b/x.mha", "train/b/y.mha", "readme.txt", "extra/c/1.png")
    with caplog.at_level(logging.WARNING):
        assert len(scan_folder(tmp_path).records) == 2
    assert "extra/" in caplog.text
    assert "3 files that are no images" in caplog.text
    assert ".mha, .txt" in caplog.text
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ((), "holds nothing"),
        (("readme.txt",), "1 files and no folders"),
        (("1.png", "2.png"), "2 images outside class folders.*'1.png'"),
        (("train/1.png", "train/a/1.png"), "1 images outside class folders"),
        (("a/1.png",), "one class only, 'a'"),
        (("train/a/1.png", "test/A/1.png"), "one class only"),
        (("a/1.png", "b/1.txt"), "without any image: 'b'"),
        (("a/1.mha", "b/1.mha"), r"no images, only other files \(.mha\)"),
        (("wrap/train/a/1.png", "wrap/train/b/1.png"), "split folder 'train'.*data.root=.*wrap"),
        (("val/a/1.png", "valid/b/1.png"), "'val' and 'valid'"),
    ],
)
def test_what_is_no_data_set(tmp_path: Path, paths: tuple[str, ...], message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        scan_folder(touch(tmp_path, *paths))
    assert str(tmp_path) in str(caught.value)


def test_root_must_be_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"does not exist.*Expected"):
        scan_folder(tmp_path / "none")
    touch(tmp_path, "data.csv")
    with pytest.raises(RequestError, match=r"is a file.*data=manifest"):
        scan_folder(tmp_path / "data.csv")


def test_a_class_may_lack_images_in_one_split(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "val/a/1.png")
    (tmp_path / "val/b").mkdir()
    assert len(scan_folder(tmp_path).records) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/1.png")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/a/\xff.png")).touch()
    with pytest.raises(RequestError, match="not UTF-8"):
        scan_folder(tmp_path)


def test_metadata_joins_by_path(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a/1.png", "a/2.png", "b/3.png")
    rows = "path,label,split,patient_id,site\na\\1.png,A,valid,p1,Ulm\nb/3.png,,test,,Bonn\nb/gone.png,b,,,\n"
    (tmp_path / "metadata.csv").write_text(rows)
    with caplog.at_level(logging.WARNING):
        one, two, three = scan_folder(tmp_path).records
    assert one == Record("a/1.png", "a", "val", "p1", columns={"site": "Ulm"})
    assert two == Record("a/2.png", "a")
    assert three == Record("b/3.png", "b", "test", columns={"site": "Bonn"})
    assert "1 rows name no image here, and 1 images have no row" in caplog.text
    assert len(caplog.records) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("path,label\ntrain/a/1.png,a\ntrain/b/2.png,a\n", "row 3: 'train/b/2.png' has label 'a'.*folder 'b'"),
        ("path,split\ntrain/a/1.png,test\n", "row 2: .* has split 'test', but lies in the train folder"),
        ("path,split\ntrain/a/1.png,never\n", "row 2: .* split 'never'; allowed"),
        ("path,x\ntrain/a/1.png,1\ntrain/a/1.png,2\n", "row 3: .* stands in row 2"),
        ("path,x\n,1\n", "row 2: path is empty"),
        ("image,x\ntrain/a/1.png,1\n", "'path' is missing"),
    ],
)
def test_metadata_that_contradicts(tmp_path: Path, rows: str, message: str) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/2.png")
    (tmp_path / "metadata.csv").write_text(rows)
    with pytest.raises(RequestError, match=message):
        scan_folder(tmp_path)


def test_manifest_source(tmp_path: Path) -> None:
    touch(tmp_path, "1.png")
    file = tmp_path / "data.csv"
    file.write_text("path,label\n1.png,a\n2.png,b\n")
    with pytest.raises(RequestError, match=r"1 of the 2 images do not exist: '2.png'"):
        read_manifest_source(file)
    touch(tmp_path, "2.png")
    assert [record.label for record in read_manifest_source(file).records] == ["a", "b"]
    with pytest.raises(RequestError, match="data=image_folder"):
        read_manifest_source(tmp_path)
    with pytest.raises(RequestError, match="does not exist"):
        read_manifest_source(tmp_path / "none.csv")
