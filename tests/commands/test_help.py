"""The help names all that can be given."""

from pathlib import Path

import pytest

from medimg.cli import main
from medimg.commands.help import help_text
from medimg.config.compose import conf_dir
from medimg.config.kinds import fields


@pytest.fixture(scope="module")
def text() -> str:
    checkpoint = {"_target_": "medimg.training.checkpoints", "every_epoch": False}
    config = {
        "seed": 3,
        "data": {"root": None, "normalize": True},
        "callbacks": {"checkpoint": checkpoint, "early_stopping": None},
    }
    return help_text({"model": ["vgg16", "resnet18"]}, config)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["train", *arguments]) == 0
    return capsys.readouterr().out


def test_groups_and_choices_are_all_there(capsys: pytest.CaptureFixture[str]) -> None:
    flat = "".join(printed(capsys, "--help").split())
    groups = [folder for folder in conf_dir().iterdir() if folder.is_dir() and folder.name != "hydra"]
    assert len(groups) > 8
    for group in groups:
        names = sorted(file.stem for file in group.glob("*.yaml"))
        assert f"{group.name}={'|'.join(names)}" in flat


def test_every_key_stands_once(text: str) -> None:
    plain = {field.key for field in fields()} - {"callbacks", "logger"}
    listed = [line.split()[0] for line in text.partition("Keys (")[2].splitlines()[2:] if line.strip()]
    named = {key for key in listed if key.startswith(("callbacks.", "logger."))}
    assert set(listed) - named == plain
    assert {
        "callbacks.checkpoint.every_epoch",
        "callbacks.early_stopping",
    } == named
    assert len(listed) == len(set(listed))


def test_defaults_are_those_of_the_configuration(text: str) -> None:
    rows = {
        line.split()[0]: line.split()[1]
        for line in text.splitlines()
        if line.startswith("  ") and len(line.split()) > 2
    }
    assert rows["seed"] == "3"
    assert rows["data.root"] == "null"
    assert rows["data.normalize"] == "true"
    assert rows["optimizer.lr"] == "-", "not in this configuration"


def test_help_follows_the_choices_given(capsys: pytest.CaptureFixture[str]) -> None:
    """What is needed and not given yet is no reason to refuse help."""
    for choice, key in (("model=torchvision", "model.backbone"), ("data=ct", "data.root")):
        line = next(line for line in printed(capsys, choice, "--help").splitlines() if line.startswith(f"  {key} "))
        assert "???" in line


def test_own_choices_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "conf" / "experiment" / "zz_mine.yaml").write_text("# @package _global_\nseed: 1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert "zz_mine" in printed(capsys, "--help")


def test_no_line_is_endless(text: str) -> None:
    assert max(len(line) for line in text.splitlines()) < 160
