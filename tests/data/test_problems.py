"""What training refuses, a check gathers and goes on."""

from pathlib import Path

import pytest
from conftest import draw_folder

from medimg.config.compose import load
from medimg.data.load import list_images
from medimg.data.manifest import Manifest
from medimg.data.problems import Problem, gathered
from medimg.errors import RequestError


def listed(root: Path, *more: str, data: str = "image_folder") -> tuple[Manifest, list[Problem]]:
    """The same data is refused outside, with what is gathered first."""
    config = load([f"data={data}", f"data.root={root}", *more]).data
    with gathered() as problems:
        manifest = list_images(config, root)
    refused = [problem for problem in problems if problem.refused]
    if refused:
        with pytest.raises(RequestError) as caught:
            list_images(config, root)
        assert str(caught.value) == f"{refused[0].message} {refused[0].cure}".rstrip()
    return manifest, problems


def test_good_data_has_no_problems(tmp_path: Path) -> None:
    manifest, problems = listed(draw_folder(tmp_path, {"train/a": 2, "train/b": 2}))
    assert problems == []
    assert manifest.positive_class == "b"


def test_classes_that_train_lacks(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {"train/a": 2, "train/b": 2, "test/a": 1, "test/c": 2})
    manifest, problems = listed(root)
    assert [(one.kind, one.files) for one in problems] == [("class_mismatch", ("test/c/3_000.png", "test/c/3_001.png"))]
    assert manifest.classes == ("a", "b", "c")
    assert manifest.positive_class is None


def test_classes_that_are_not_expected(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {"covid": 2, "sick": 2})
    manifest, problems = listed(root, data="covid")
    assert [one.kind for one in problems] == ["class_mismatch", "missing_class"]
    assert manifest.classes == ("normal", "covid", "sick")


def test_folders(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {"a": 2, "empty": 0, "B": 2, "b": 1})
    (root / "stray.png").write_bytes((root / "a" / "0_000.png").read_bytes())
    (root / "a" / "link.png").symlink_to(root / "nowhere")
    (root / "a" / "notes.txt").write_text("x")
    manifest, problems = listed(root)
    assert sorted(one.kind for one in problems) == [
        "class_mismatch",
        "missing_class",
        "other_files",
        "unlabelled",
        "unreadable",
    ]
    assert len(manifest.records) == 5
    assert manifest.classes == ("B", "a")


def test_one_class(tmp_path: Path) -> None:
    manifest, problems = listed(draw_folder(tmp_path, {"a": 2}), "data.positive_class=a")
    assert {one.kind for one in problems} == {"missing_class"}
    assert manifest.classes == ("a",)


def test_metadata(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {"train/a": 2, "train/b": 2})
    rows = ["path,label,split", "train/a/0_000.png,b,train", "train/a/0_001.png,a,test", "train/a/0_001.png,a,", ",a,"]
    (root / "metadata.csv").write_text("\n".join(rows))
    manifest, problems = listed(root)
    assert sorted(one.kind for one in problems) == ["label_conflict", "metadata", "metadata", "metadata", "metadata"]
    assert {record.split for record in manifest.records} == {"train"}


def test_tables(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {"a": 2, "b": 2})
    rows = ["path,label", "a/0_000.png,a", "a/0_001.png,", "b/1_000.png,b", "b/1_000.png,b", "b/gone.png,b"]
    (root / "all.csv").write_text("\n".join(rows))
    manifest, problems = listed(root / "all.csv", data="manifest")
    assert [(one.kind, one.files) for one in problems] == [("metadata", ()), ("unreadable", ("b/gone.png",))]
    assert [record.path for record in manifest.records] == ["a/0_000.png", "b/1_000.png"]


def test_patients_that_are_not_in_the_path(tmp_path: Path) -> None:
    root = draw_folder(tmp_path, {"a": 2, "b": 2})
    manifest, problems = listed(root, r"data.patient_regex='a/(\d+)_'")
    assert [one.kind for one in problems] == ["patient_unknown"]
    assert {record.patient_id for record in manifest.records} == {"0", None}


def test_a_wrong_request_is_still_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with gathered(), pytest.raises(RequestError, match="no images"):
        list_images(load(["data=image_folder", f"data.root={tmp_path}"]).data, tmp_path)
