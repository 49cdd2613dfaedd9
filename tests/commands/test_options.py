"""Options stand before, between or after overrides, and nothing is guessed."""

import pytest
import yaml

from medimg.cli import main
from medimg.commands.options import overrides_only, parser
from medimg.errors import RequestError


def test_overrides_are_taken_as_they_are() -> None:
    given = ["run=latest", "+a.b=1", "~c=2", "d=[1,2]", "e=-1"]
    assert overrides_only("resume", given) == given
    assert overrides_only("resume", []) == []


def test_help_wins_wherever_it_stands() -> None:
    for given in (["--help"], ["-h", "run=x"], ["run=x", "--help"], ["run=x", "-h", "a=b"]):
        assert overrides_only("resume", given) is None


@pytest.mark.parametrize("option", ["--foo", "-x", "--he", "--multirun", "--foo=1"])
def test_unknown_options_are_refused_and_not_abbreviated(option: str) -> None:
    with pytest.raises(RequestError, match="--help lists the options"):
        overrides_only("resume", ["run=latest", option])


def test_options_between_overrides() -> None:
    made = parser("train")
    made.add_argument("-m", action="store_true")
    options = made.parse_intermixed_args(["a=1", "-m", "b=2"])
    assert (options.m, options.overrides) == (True, ["a=1", "b=2"])


def test_cfg_prints_what_would_be_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--cfg", "job", "seed=5", "model=resnet18"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["seed"] == 5
    assert shown["name"] == "${data.name}_${model.name}"
    assert "hydra" not in shown
    assert main(["train", "--cfg", "job", "--resolve", "model=resnet18"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["name"] == "ct_phantom_resnet18"


def test_cfg_of_a_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--cfg", "job", "--package", "optimizer", "optimizer.lr=0.5"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["_target_"], shown["lr"]) == ("torch.optim.Adam", 0.5)


def test_cfg_of_hydra(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--cfg", "hydra", "--package", "hydra.job"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["chdir"] is False
