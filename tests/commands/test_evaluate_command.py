from pathlib import Path

import pytest

from medimg.commands import augmentation
from medimg.commands.evaluate import main
from medimg.config.check import as_dict
from medimg.config.compose import load
from medimg.errors import RequestError
from medimg.runs import RunFolder


def test_help_names_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "checkpoint" in capsys.readouterr().out


def test_a_run_is_needed() -> None:
    with pytest.raises(RequestError, match=r"run=\.\.\. is needed"):
        main([])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["compare=nowhere"], "run=nowhere: not a run folder"),
        (["compare=latest", "paths.runs=empty"], "no run below .*/empty"),
    ],
)
def test_what_it_is_compared_with_is_found_first(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(tmp_path / "runs" / "a")
    folder.update(status="completed", started="2024-01-01T00:00:00+00:00")
    with pytest.raises(RequestError, match=said):
        main(["run=runs/a", *given])
    assert [file.name for file in folder.path.iterdir()] == ["run.json"]


def test_views_are_varied_as_asked_for_by_the_runs_seed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a")
    folder.write_config(as_dict(load(["seed=7", "augment=none"])))
    views = augmentation.test_time_augmentation(folder, 2, "light")
    assert views is not None
    assert (views.config, views.views, views.seed) == (load(["augment=light"]).augment, 2, 7)
    assert augmentation.test_time_augmentation(folder, 0, None) is None
    for choice, said in ((None, "trained without augmentation"), ("none", "augment=none varies nothing")):
        with pytest.raises(RequestError, match=said):
            augmentation.test_time_augmentation(folder, 2, choice)
