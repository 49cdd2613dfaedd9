"""What `input=` may be, and that nothing in it is lost or stops the rest."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_folder
from medical_files import make_dicom, make_medmnist, make_volume

from medimg.errors import RequestError
from medimg.inference.inputs import Input, Inputs, list_inputs


def paths(found: Inputs) -> list[str]:
    return [item.path for item in found.items]


def test_a_folder_at_any_depth_in_the_order_of_names(tmp_path: Path) -> None:
    root = draw_folder(tmp_path / "images", {"b/deep": 2, "a": 1})
    for name in ("notes.txt", "labels.csv", "x.json", ".DS_Store", "a/.hidden.png", "b/more.TXT"):
        (root / name).write_text("no image")
    draw_folder(root, {".hidden": 1, "__MACOSX": 1})
    found = list_inputs(str(root))
    assert paths(found) == ["a/1_000.png", "b/deep/0_000.png", "b/deep/0_001.png"]
    assert dict(found.left_out) == {".txt": 2, ".csv": 1, ".json": 1}
    assert all(Path(item.file).is_file() for item in found.items)


def test_the_folder_of_its_own_pictures_is_left_out(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {"a": 2, "predictions_maps": 3})
    assert paths(list_inputs(str(root), without=root / "predictions_maps")) == ["a/0_000.png", "a/0_001.png"]


def test_files_without_an_ending_are_images_to_try(tmp_path: Path) -> None:
    make_dicom(tmp_path / "IM0001", np.zeros((4, 4), np.uint16))
    (tmp_path / "1.2.840.10008").write_bytes(b"broken")
    make_dicom(tmp_path / "DICOMDIR", np.zeros((4, 4), np.uint16))
    found = list_inputs(str(tmp_path))
    assert paths(found) == ["1.2.840.10008", "IM0001"]
    assert found.left_out.total() == 1


def test_frames_and_slices_are_an_image_each(tmp_path: Path) -> None:
    make_dicom(tmp_path / "cine.dcm", np.zeros((3, 4, 6), np.uint16), NumberOfFrames=3)
    make_volume(tmp_path / "ct.nii.gz", np.zeros((5, 4, 2), np.float32))
    (tmp_path / "cut.nii").write_bytes(b"no volume")
    found = list_inputs(str(tmp_path))
    assert paths(found) == ["cine.dcm#000", "cine.dcm#001", "cine.dcm#002", "ct.nii.gz#000", "ct.nii.gz#001", "cut.nii"]
    assert [item.frame for item in found.items] == [0, 1, 2, 0, 1, None]
    assert found.items[3].file == str(tmp_path / "ct.nii.gz")


def test_an_archive_is_each_row(tmp_path: Path) -> None:
    file = make_medmnist(tmp_path / "set.npz", {"train": 2, "test": 12})
    found = list_inputs(str(file))
    assert paths(found)[:3] == ["set.npz#train/0", "set.npz#train/1", "set.npz#test/00"]
    assert [item.frame for item in found.items] == list(range(14))


def test_an_archive_of_volumes_is_a_row_with_the_reason(tmp_path: Path) -> None:
    make_medmnist(tmp_path / "volumes.npz", {"train": 2}, shape=(8, 8, 8))
    (found,) = list_inputs(str(tmp_path / "volumes.npz")).items
    assert found.problem is not None and "volumes" in found.problem


def test_a_csv_keeps_its_order_and_its_own_folder(tmp_path: Path) -> None:
    root = draw_folder(tmp_path / "images", {"a": 3})
    table = root / "list.csv"
    table.write_text(f"id,path\n1,a/0_002.png\n2,./a\\0_000.png\n3,{root}/a/0_001.png\n4,a/none.png\n5,a/0_002.png\n")
    found = list_inputs(str(table))
    assert paths(found) == ["a/0_002.png", "a/0_000.png", f"{root}/a/0_001.png", "a/none.png", "a/0_002.png"]
    assert [item.problem is None for item in found.items] == [True, True, True, False, True]


def test_the_frames_that_a_csv_names(tmp_path: Path) -> None:
    make_volume(tmp_path / "ct.nii", np.zeros((5, 4, 3), np.float32))
    (tmp_path / "list.csv").write_text("path,medimg_file,medimg_frame\nct.nii#001,ct.nii,1\n")
    assert list_inputs(str(tmp_path / "list.csv")).items == (Input("ct.nii#001", str(tmp_path / "ct.nii"), 1),)


@pytest.mark.parametrize(
    ("text", "named"),
    [("file\na.png\n", "'path'"), ("path,x\n,1\n", "row 2: path is empty"), ("path,medimg_frame\na,-1\n", "'-1'")],
)
def test_what_is_wrong_with_a_csv(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(RequestError, match=named):
        list_inputs(str(tmp_path / "list.csv"))


def test_nothing_to_predict_for(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no such file"):
        list_inputs(str(tmp_path / "none"))
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(RequestError, match=r"1 other files \(\.txt\)"):
        list_inputs(str(tmp_path))


def test_links_and_what_is_no_file(tmp_path: Path) -> None:
    root = draw_folder(tmp_path / "images", {"a": 1})
    (root / "a" / "circle").symlink_to(root)
    (root / "gone.png").symlink_to(tmp_path / "none.png")
    os.mkfifo(root / "pipe.png")
    found = list_inputs(str(root))
    assert paths(found) == ["a/0_000.png", "gone.png", "pipe.png"]
    assert "No such file" in (found.items[1].problem or "")
    assert found.items[2].problem == "this is no regular file"


def test_a_name_of_any_bytes_is_one_line_of_text(tmp_path: Path) -> None:
    os.close(os.open(os.fsencode(tmp_path) + b"/a\n\xff.png", os.O_CREAT))
    found = list_inputs(str(tmp_path))
    assert paths(found) == ["a\\n\\udcff.png"]
    assert found.digest() == list_inputs(str(tmp_path)).digest()


def test_another_list_has_another_digest(tmp_path: Path) -> None:
    root = draw_folder(tmp_path / "images", {"a": 2})
    before = list_inputs(str(root)).digest()
    draw_folder(root, {"b": 1})
    assert list_inputs(str(root)).digest() != before
