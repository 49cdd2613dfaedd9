"""Who has looked at a test split: runs and ensembles of the same images, and with folds of the same part."""

import json
import os
from pathlib import Path

from handmade_runs import write_run

from medimg.runs import RunFolder
from medimg.runs.looks import looks_at_test, was_looked_at


def run(home: Path, name: str, *overrides: str, looked: bool = False, **info: object) -> RunFolder:
    home.mkdir(exist_ok=True)
    test = {"accuracy": 0.5} if looked else None
    return write_run(home / name, *overrides, value=0.5, test=test, config={"paths.runs": str(home)}, **info)


def ensemble(home: Path, name: str, members: list[RunFolder], split: str = "test") -> None:
    folder = home / "ensembles" / name
    folder.mkdir(parents=True)
    entries = [{"run": os.path.relpath(member.path, folder)} for member in members]
    (folder / "ensemble.json").write_text(json.dumps({"members": entries}))
    (folder / "results.json").write_text(json.dumps({split: {"accuracy": 0.5}}))


def test_an_ensemble_has_looked_at_the_split_of_its_members(tmp_path: Path) -> None:
    a, b, c = (run(tmp_path, name) for name in "abc")
    assert looks_at_test(a) == 0 and not was_looked_at(a)
    ensemble(tmp_path, "validation", [a, b], "val")
    assert looks_at_test(a) == 0 and not was_looked_at(a)
    ensemble(tmp_path, "one", [a, b])
    assert [looks_at_test(each) for each in (a, b, c)] == [1, 1, 1]  # c has the same test split
    assert was_looked_at(c)
    run(tmp_path, "d", looked=True)
    ensemble(tmp_path, "two", [b, c])
    assert looks_at_test(a) == 3


def test_other_images_and_other_folds_are_not_the_same_split(tmp_path: Path) -> None:
    a, b = (run(tmp_path, f"fold{fold}", "data.folds=3", f"data.fold={fold}") for fold in (0, 1))
    other_fold = run(tmp_path, "fold2", "data.folds=3", "data.fold=2")
    elsewhere = run(tmp_path, "elsewhere", images_fingerprint="j" * 64)
    ensemble(tmp_path, "one", [a, b])
    assert [looks_at_test(each) for each in (a, b, other_fold, elsewhere)] == [1, 1, 0, 0]
    assert [was_looked_at(each) for each in (a, other_fold, elsewhere)] == [True, False, False]


def test_what_is_damaged_has_not_looked(tmp_path: Path) -> None:
    a = run(tmp_path, "a", looked=True)
    ensemble(tmp_path, "gone", [RunFolder(tmp_path / "gone")])
    ensemble(tmp_path, "cut", [a])
    (tmp_path / "ensembles" / "cut" / "ensemble.json").write_text("{")
    assert looks_at_test(a) == 1


def test_nobody_can_know_of_a_run_that_was_moved(tmp_path: Path) -> None:
    a = run(tmp_path / "runs", "a", looked=True)
    moved = RunFolder(a.path.rename(tmp_path / "a"))
    assert looks_at_test(moved) is None
    assert was_looked_at(moved)
