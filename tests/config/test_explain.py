"""Hydra's errors in our words, where the command line cannot reach them."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError
from yaml import YAMLError

from medimg.cli import main
from medimg.config.explain import explained
from medimg.errors import RequestError


@pytest.mark.parametrize("error", [YAMLError("line 3"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid")])
def test_unreadable_files_are_requests(error: Exception) -> None:
    with pytest.raises(RequestError, match="not YAML"), explained([]):
        raise error


def test_errors_of_omegaconf_arrive_in_a_few_lines() -> None:
    with pytest.raises(RequestError, match="nowhere") as caught, explained([]):
        OmegaConf.to_container(OmegaConf.create({"a": "${nowhere}"}), resolve=True)
    assert isinstance(caught.value.__cause__, InterpolationKeyError)
    assert len(str(caught.value).splitlines()) < 6


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), RuntimeError("a bug"), RequestError("said")])
def test_everything_else_passes_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, explained([]):
        raise error
    assert caught.value is error


def test_a_file_of_ones_own_without_its_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "conf" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("defaults:\n  - override /data: covid_phantom\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["train", "experiment=mine"]) == 2
    assert "@package _global_" in capsys.readouterr().err


def test_a_key_of_another_choice_is_told_as_that(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "data=covid", "data.root=/", "model.freeze=true"]) == 2
    said = capsys.readouterr().err
    assert "no key 'model.freeze'. model=small_cnn has none, but others have." in said
    assert "choices of model: alexnet," in said
    assert main(["train", "scheduler.warmup_epochs=3"]) == 2
    assert capsys.readouterr().err.count("choices of scheduler: cosine,") == 1
    assert main(["train", "report=x"]) == 2
    assert "Did you mean" not in capsys.readouterr().err
