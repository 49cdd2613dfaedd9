import csv
import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medimg.config.data import CovidPhantomConfig, CTPhantomConfig
from medimg.data.phantoms import draw_covid_phantoms, draw_ct_phantoms
from medimg.data.phantoms import write as writing
from medimg.errors import RequestError


def tiny(**changes: object) -> CTPhantomConfig:
    settings: dict[str, object] = {"size": 16, "patients_per_class": 4, "images_per_patient": 2}
    return CTPhantomConfig(**(settings | changes))  # type: ignore[arg-type]


def files(root: Path) -> dict[str, bytes]:
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def rows(root: Path) -> list[dict[str, str]]:
    with (root / "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def fail(*_: object) -> NDArray[np.uint8]:
    raise KeyboardInterrupt


def test_same_bytes_wherever_and_whenever(tmp_path: Path) -> None:
    first = draw_ct_phantoms(tiny(), tmp_path / "a")
    np.random.seed(5)
    random.seed(5)
    draw_covid_phantoms(CovidPhantomConfig(size=16, patients_per_class=1), tmp_path / "b")
    second = draw_ct_phantoms(tiny(), tmp_path / "b")
    assert first.name == second.name
    assert files(first) == files(second)


def test_global_randomness_is_left_alone(tmp_path: Path) -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    draw_ct_phantoms(tiny(), tmp_path)
    assert np.array_equal(np.random.get_state()[1], before)


def test_more_patients_or_fewer_classes_leave_the_other_images_alone(tmp_path: Path) -> None:
    few = files(draw_ct_phantoms(tiny(), tmp_path))
    more = files(draw_ct_phantoms(tiny(patients_per_class=9, images_per_patient=3), tmp_path))
    some = files(draw_ct_phantoms(tiny(classes=("pneumonia", "Normal")), tmp_path))
    for other in (more, some):
        shared = [name for name in few if name.endswith(".png") and name in other]
        assert all(few[name] == other[name] for name in shared)
    assert all(name in more for name in few)
    assert {name.split("/")[1] for name in some if name.endswith(".png")} == {"Normal", "pneumonia"}


@pytest.mark.parametrize("change", [{"draw_seed": 1}, {"difficulty": 0.9}, {"size": 17}])
def test_a_setting_of_the_drawing_makes_another_folder_with_other_pictures(
    tmp_path: Path, change: dict[str, object]
) -> None:
    one, two = draw_ct_phantoms(tiny(), tmp_path), draw_ct_phantoms(tiny(**change), tmp_path)
    assert one != two
    pictures, others = files(one), files(two)
    assert pictures.keys() == others.keys()
    assert all(pictures[name] != others[name] for name in pictures if name.endswith(".png"))


def test_what_is_no_setting_of_the_drawing_shares_the_folder(tmp_path: Path) -> None:
    one = draw_ct_phantoms(tiny(), tmp_path)
    other = tiny(batch_size=3, val_fraction=0.5, split_seed=4, classes=tuple(reversed(tiny().classes or ())))
    assert draw_ct_phantoms(other, tmp_path) == one
    assert draw_ct_phantoms(tiny(classes=None), tmp_path) == one


def test_no_two_images_are_equal(tmp_path: Path) -> None:
    pictures = [data for name, data in files(draw_ct_phantoms(tiny(), tmp_path)).items() if name.endswith(".png")]
    assert len(set(pictures)) == len(pictures) == 5 * 4 * 2


def test_layout_and_metadata_agree(tmp_path: Path) -> None:
    config = CovidPhantomConfig(size=16, patients_per_class=12, images_per_patient=2)
    root = draw_covid_phantoms(config, tmp_path)
    assert root.parent == tmp_path / "phantoms"
    table = rows(root)
    assert list(table[0]) == ["path", "patient_id", "sex", "source"]
    assert sorted(row["path"] for row in table) == sorted(name for name in files(root) if name != "metadata.csv")
    for row in table:
        split, label, name = row["path"].split("/")
        assert split in ("train", "test")
        assert label in ("normal", "covid")
        assert name in (f"{row['patient_id']}_0.png", f"{row['patient_id']}_1.png")
    assert {row["sex"] for row in table} == {"F", "M"}
    assert len({row["source"] for row in table}) > 1


@pytest.mark.parametrize(("count", "tested"), [(1, 0), (2, 1), (4, 1), (5, 1), (8, 2), (40, 10)])
def test_a_quarter_of_the_patients_of_each_class_is_for_the_test(tmp_path: Path, count: int, tested: int) -> None:
    root = draw_covid_phantoms(CovidPhantomConfig(size=16, patients_per_class=count, images_per_patient=2), tmp_path)
    sides: dict[str, set[str]] = {}
    people: dict[tuple[str, str], set[str]] = {}
    for row in rows(root):
        split, label, _ = row["path"].split("/")
        sides.setdefault(row["patient_id"], set()).add(split)
        people.setdefault((label, split), set()).add(row["patient_id"])
    assert len(sides) == 2 * count
    assert all(len(side) == 1 for side in sides.values())
    for label in ("normal", "covid"):
        assert len(people.get((label, "test"), ())) == tested
        assert len(people[label, "train"]) == count - tested


def test_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = draw_ct_phantoms(tiny(), tmp_path)
    times = {file: file.stat().st_mtime_ns for file in [root, *root.rglob("*")]}
    monkeypatch.setattr(writing, "_fill", fail)
    assert draw_ct_phantoms(tiny(), tmp_path) == root
    assert {file: file.stat().st_mtime_ns for file in [root, *root.rglob("*")]} == times


def test_interrupted_drawing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = 0

    def stop_in_the_middle(kind: writing.Kind) -> writing.Kind:
        def draw(pattern: str, *rest: object) -> NDArray[np.uint8]:
            nonlocal drawn
            drawn += 1
            return fail() if drawn == 5 else np.zeros((16, 16), np.uint8)

        return writing.Kind(kind.name, kind.number, kind.patterns, draw)

    from medimg.data import phantoms

    with monkeypatch.context() as patch:
        patch.setattr(phantoms, "_CT", stop_in_the_middle(phantoms._CT))
        with pytest.raises(KeyboardInterrupt):
            draw_ct_phantoms(tiny(), tmp_path)
    assert drawn == 5
    assert list((tmp_path / "phantoms").iterdir()) == []
    assert len(files(draw_ct_phantoms(tiny(), tmp_path))) == 5 * 4 * 2 + 1


def test_the_slower_of_two_processes_keeps_the_folder_of_the_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill = writing._fill

    def overtaken(*arguments: object) -> None:
        monkeypatch.setattr(writing, "_fill", fill)
        (draw_ct_phantoms(tiny(), tmp_path) / "mark").touch()
        fill(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(writing, "_fill", overtaken)
    root = draw_ct_phantoms(tiny(), tmp_path)
    assert (root / "mark").is_file()
    assert list(root.parent.iterdir()) == [root]


def test_a_class_that_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"'normal'.*Did you mean 'Normal'") as caught:
        draw_ct_phantoms(tiny(classes=("normal",)), tmp_path)
    assert "pneumothorax" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_aliases_name_the_classes_and_folders_keep_their_names(tmp_path: Path) -> None:
    aliases = {"ILD": "ill", "pneumonia": "ill"}
    root = draw_ct_phantoms(tiny(classes=("ill", "Normal"), class_aliases=aliases), tmp_path)
    assert {folder.name for folder in (root / "train").iterdir()} == {"ILD", "Normal", "pneumonia"}


def test_a_cache_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "phantoms").write_text("a file where a folder should be")
    with pytest.raises(RequestError, match=r"paths\.cache=FOLDER"):
        draw_ct_phantoms(tiny(), tmp_path)
