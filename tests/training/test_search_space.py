"""The space of a search against Optuna's own distributions, and its overrides against Hydra's own parser."""

from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from medimg.config.compose import hydra_session, parse
from medimg.errors import RequestError
from medimg.training.search_space import read_space


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("optimizer=adam,sgd", CategoricalDistribution(["adam", "sgd"])),
        ("optimizer=choice(adam,sgd,adam)", CategoricalDistribution(["adam", "sgd"])),
        ("optimizer=shuffle(adam,sgd,rmsprop)", CategoricalDistribution(["adam", "sgd", "rmsprop"])),
        ("model.widths=[4,8],[8,16]", CategoricalDistribution(["[4,8]", "[8,16]"])),
        ("model.weights=null,imagenet", CategoricalDistribution(["null", "imagenet"])),
        ("data.batch_size=range(1,8)", IntDistribution(1, 7)),
        ("data.batch_size=range(8,65,8)", IntDistribution(8, 64, step=8)),
        ("model.dropout=range(0,1,0.25)", FloatDistribution(0, 0.75, step=0.25)),
        ("optimizer.lr=interval(1e-5,1e-1)", FloatDistribution(1e-5, 1e-1)),
        ("optimizer.lr=tag(log,interval(1e-5,1e-1))", FloatDistribution(1e-5, 1e-1, log=True)),
        ("data.batch_size=int(interval(4,32))", IntDistribution(4, 32)),
        ("data.batch_size=tag(log,int(interval(4,32)))", IntDistribution(4, 32, log=True)),
    ],
)
def test_hydras_grammar_is_read_as_optunas_distributions(line: str, expected: BaseDistribution) -> None:
    space = read_space({}, [line])
    assert dict(space.distributions) == {line.partition("=")[0]: expected}


def test_the_choices_of_a_glob_are_those_of_the_group() -> None:
    with hydra_session():
        space = read_space({}, ["optimizer=glob(adam*)"])
    assert space.distributions["optimizer"] == CategoricalDistribution(["adam", "adamw"])


def test_the_command_line_fixes_replaces_and_adds() -> None:
    params = {"optimizer.lr": "interval(0,1)", "optimizer.weight_decay": "interval(0,1)", "augment": "none,light"}
    given = ["optimizer.lr=0.5", "augment=strong,none", "seed=range(0,3)", "trainer.max_epochs=3", "~callbacks.figures"]
    space = read_space(params, given)
    assert set(space.distributions) == {"optimizer.weight_decay", "augment", "seed"}
    assert space.distributions["augment"] == CategoricalDistribution(["strong", "none"])
    assert list(space.shared) == ["optimizer.lr=0.5", "trainer.max_epochs=3", "~callbacks.figures"]
    values: dict[str, Any] = {"optimizer.weight_decay": 1.0324413950390663e-05, "augment": "none", "seed": 2}
    overrides = space.overrides(values)
    assert overrides[:3] == list(space.shared)
    read = {override.key_or_group: override.value() for override in parse(overrides[3:])}
    assert read == values  # every digit of it


def test_both_ends_and_every_choice_stand_at_the_edges() -> None:
    space = read_space({"a": "1,2,3", "b": "interval(0,1)", "c": True}, [])
    assert list(space.edges()) == [
        ["c=true", "a=1", "b=0.0"],
        ["c=true", "a=2", "b=0.0"],
        ["c=true", "a=3", "b=0.0"],
        ["c=true", "a=1", "b=1.0"],
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("optimizer.lr=0.1", "nothing to search"),
        ("optimizer.lr=tag(log,interval(0,1))", "cannot be searched"),
        ("optimizer.lr=interval(1,0)", "cannot be searched"),
        ("data.batch_size=range(4,4)", "the range is empty"),
        ("optimizer.lr=tag(exp,interval(1,2))", "there is no tag exp"),
        ("monitor.metric=val/loss,val/accuracy", "give one value"),
        ("name=a,b", "give one value"),
    ],
)
def test_what_cannot_be_searched_is_refused(line: str, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        read_space({}, [line])
