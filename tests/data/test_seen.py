from pathlib import Path

import pytest

from medimg.data.manifest import Manifest, Record
from medimg.data.seen import seen_in


def manifest(root: Path, files: dict[str, bytes], split: str) -> Manifest:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return Manifest(root, tuple(Record(name, "a", split) for name in files))  # type: ignore[arg-type]


def test_the_same_bytes_are_recognised_under_another_name(tmp_path: Path) -> None:
    trained = manifest(tmp_path / "old", {"1.png": b"one", "2.png": b"two"}, "train")
    asked = manifest(tmp_path / "new", {"x/9.png": b"two", "1.png": b"six", "3.png": b"longer"}, "test")
    assert seen_in(trained, asked, asked.of("test")) == {"train": ["x/9.png"], "val": [], "test": []}


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_it_is_told_in_which_split_an_image_was(tmp_path: Path, split: str) -> None:
    own = manifest(tmp_path / "old", {"1.png": b"one"}, split)
    asked = manifest(tmp_path / "new", {"a.png": b"one", "b.png": b"two"}, "test")
    assert {name: paths for name, paths in seen_in(own, asked, asked.of("test")).items() if paths} == {split: ["a.png"]}


def test_frames_of_one_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "v.nii").write_bytes(b"volume")
    slices = [Record(f"v.nii#{n}", "a", "train", file="v.nii", frame=n) for n in (0, 1)]
    trained = Manifest(tmp_path, (slices[0],))
    assert seen_in(trained, Manifest(tmp_path, tuple(slices)), slices)["train"] == ["v.nii#0"]


def test_training_files_that_are_gone_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained = manifest(tmp_path / "old", {"1.png": b"one"}, "train")
    (tmp_path / "old" / "1.png").unlink()
    asked = manifest(tmp_path / "new", {"1.png": b"one"}, "test")
    assert seen_in(trained, asked, asked.of("test"))["train"] == []
    assert "1 of the 1 training and validation files are gone" in caplog.text
