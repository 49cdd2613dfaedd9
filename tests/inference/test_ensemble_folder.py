"""The folder of an ensemble follows from its members, and a broken one is named."""

from dataclasses import replace
from pathlib import Path

import pytest
from ensemble_runs import member

from medimg.errors import RequestError
from medimg.inference.ensemble_folder import ensemble_folder, scored_before
from medimg.runs import RunFolder

PAIR = (member("a", test="x"), member("b", test="x"))


def test_other_members_another_folder() -> None:
    here = ensemble_folder(PAIR, Path("/runs"))
    assert here.path.parent == Path("/runs/ensembles")
    assert here.path.name.startswith("ensemble-")
    assert ensemble_folder(PAIR, Path("/runs"), "mine").path.name == here.path.name.replace("ensemble", "mine")
    assert ensemble_folder((PAIR[0], member("c", test="x")), Path("/runs")).path != here.path


def test_a_folder_of_runs_that_was_moved_has_the_same_ensembles() -> None:
    there = tuple(
        replace(one, run=replace(one.run, folder=RunFolder(Path("/else") / one.folder.path.name))) for one in PAIR
    )
    assert ensemble_folder(there, Path("/else")).path.name == ensemble_folder(PAIR, Path("/runs")).path.name
    assert ensemble_folder(there, Path("/runs")).path.name != ensemble_folder(PAIR, Path("/runs")).path.name


def test_a_broken_description_is_named(tmp_path: Path) -> None:
    assert scored_before(RunFolder(tmp_path), PAIR) == []
    for content in ("{", "[]", '{"members": [{}]}'):
        (tmp_path / "ensemble.json").write_text(content, encoding="utf-8")
        with pytest.raises(RequestError, match=r"ensemble\.json is not the description of an ensemble"):
            scored_before(RunFolder(tmp_path), PAIR)
