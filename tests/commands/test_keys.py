"""A command's keys are read, checked and described by the struct that it declares."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from medimg.cli import main
from medimg.commands.keys import Run, Runs, described, read_keys
from medimg.config.base import Node, PositiveInt
from medimg.errors import RequestError


class Request(Node, frozen=True, kw_only=True):
    run: Run
    dirs: Annotated[str | list[str], Meta(description="folders")] = "runs"
    output: str | None = None
    top: Annotated[PositiveInt | None, Meta(description="how many")] = None
    split: Annotated[Literal["test", "val"], Meta(description="which part")] = "test"
    explain: bool = False
    allow: dict[str, list[str]] | None = None
    paths: Runs = Runs()


def read(*overrides: str, of_the_run: tuple[str, ...] = ()) -> tuple[Request, dict[str, Any]]:
    return read_keys("show", overrides, Request, of_the_run)


def test_defaults_and_types() -> None:
    assert read("run=a") == (Request(run="a"), {})
    given = ["run=2024_01", "top=3", "split=val", "explain=true", "allow={model:[my.Net]}", "paths.runs=/x (1)/a=b"]
    expected = Request(
        run="2024_01",
        top=3,
        split="val",
        explain=True,
        allow={"model": ["my.Net"]},
        paths=Runs(runs="/x (1)/a=b"),
    )
    assert read(*given) == (expected, {})
    assert expected.paths.folder == Path("/x (1)/a=b")
    assert Runs(runs="~/a").folder == Path.home() / "a"
    assert read("run=a", "output=null")[0].output is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("dirs=2024_01", "2024_01"),
        ("dirs=[2024_01, b]", ["2024_01", "b"]),
        ("dirs=['a, (1)',b]", ["a, (1)", "b"]),
        ("dirs=it's", "it's"),
    ],
)
def test_lists_of_paths(given: str, expected: str | list[str]) -> None:
    assert read("run=a", given)[0].dirs == expected


def test_keys_of_a_run_are_handed_on_as_they_are() -> None:
    given = ["run=a", "data.root=2024_01", "data.batch_size=4"]
    assert read(*given, of_the_run=("data.",))[1] == {"data.root": "2024_01", "data.batch_size": 4}
    everything = ["run=a", "callbacks.early_stopping.patience=3", "model=resnet18", "seed=1"]
    assert read(*everything, of_the_run=("",))[1] == {
        "callbacks.early_stopping.patience": 3,
        "model": "resnet18",
        "seed": 1,
    }


@pytest.mark.parametrize(
    ("given", "of_the_run", "said"),
    [
        (["rn=a"], (), ["show has no key 'rn'", "'run'", "keys: run, dirs, output"]),
        (["run=a", "data.root=x"], (), ["show has no key 'data.root'"]),
        (["run=a", "data.rot=x"], ("data.",), ["'data.rot'", "'data.root'", "paths.runs, data.*"]),
        (["run=a", "seed=1"], ("data.",), ["'seed'"]),
        (["run=a", "sead=1"], ("",), ["'sead'", "'seed'", "any other key of a run's config.yaml"]),
        ([], (), ["run=... is needed", "a run folder, or latest"]),
        (["run=null"], (), ["run=... is needed"]),
        (["run="], (), ["run= names nothing", "a run folder, or latest"]),
        (["run=a", "paths.runs="], (), ["paths.runs= names nothing", "where latest looks"]),
        (["run=a", "dirs=[]"], (), ["dirs= names nothing", "folders"]),
        (["run=a", "dirs=[a,]"], (), ["dirs= names nothing"]),
        (["run=a", "dirs=[a"], (), ["dirs=[a", "no end"]),
        (["run=a", "dirs=a,b"], (), ["dirs=a,b", "one value", "dirs=[a,b]"]),
        (["run=a,b"], (), ["run=a,b", "one value", "quoted twice"]),
        (["run=a", "top=0"], (), ["top=0", ">= 1", "top: how many"]),
        (["run=a", "top=many"], (), ["top=many", "whole number", "top: how many"]),
        (["run=a", "split=tset"], (), ["split=tset", "allowed words: test, val", "'test'", "which part"]),
        (["run=a", "explain=7"], (), ["explain=7", "true or false"]),
        (["run=a", "allow=[a]"], (), ["allow="]),
        (["run=a", "paths.runs=null"], (), ["paths.runs=null", "where latest looks"]),
    ],
)
def test_what_is_wrong_is_said(given: list[str], of_the_run: tuple[str, ...], said: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        read(*given, of_the_run=of_the_run)
    for words in said:
        assert words in str(caught.value)


def test_the_help_has_a_line_for_each_key() -> None:
    lines = described(Request).splitlines()
    assert [line.split()[0] for line in lines] == [
        "run", "dirs", "output", "top", "split", "explain", "allow", "paths.runs",
    ]  # fmt: skip
    assert lines[1].endswith(" folders")


@pytest.mark.parametrize("command", ["evaluate", "predict", "ensemble", "export", "resume", "leaderboard"])
def test_every_key_of_a_command_is_described(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert main([command, "nothing.of_this_name=1"]) == 2
    keys = capsys.readouterr().err.partition("keys: ")[2].strip().split(", ")
    lines = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if len(line.split()) > 1}
    assert len(keys) > 1
    for key in keys:
        if key not in {"trainer.accelerator", "trainer.precision", "any other key of a run's config.yaml"}:
            assert len(lines[key]) > 2, key
    assert max(map(len, shown.splitlines())) <= 130
