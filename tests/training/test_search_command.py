"""The printed command trains the same: what a file of conf/sweep has set is in it."""

import shlex
from pathlib import Path

import msgspec
import pytest

from medimg.commands.train import checked
from medimg.config.compose import hydra_session, load
from medimg.training.search_command import command


def test_what_the_file_of_the_search_set_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "sweep").mkdir(parents=True)
    own = (
        "# @package _global_\ndefaults: [search, _self_]\ntrainer: {max_epochs: 2}\nmodel: {widths: [4, 8]}\nseed: 3\n"
    )
    (tmp_path / "conf" / "sweep" / "mine.yaml").write_text(own)
    monkeypatch.chdir(tmp_path)
    overrides = ["sweep=mine", "sweep.on_error=stop", "name=s", "data.patient_regex='(a) b'", "optimizer.lr=1e-05"]
    with hydra_session():
        said = shlex.split(command(overrides, checked))
        trial = checked(overrides)
    assert said[:2] == ["medimg", "train"]
    again = load(said[2:])
    assert again.name == "s_best"
    assert "pruning" not in again.callbacks
    alike = {"name": again.name, "callbacks": again.callbacks, "sweep": again.sweep}
    assert msgspec.structs.replace(trial, **alike) == again
