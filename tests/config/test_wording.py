"""A value that does not fit: its key, what it is, and what it may be."""

import copy
from typing import Any

import pytest

from medimg.config.check import as_dict, check
from medimg.config.compose import load
from medimg.config.wording import explain, shown
from medimg.errors import RequestError


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    return as_dict(load(["model=resnet18"]))


# key, value, and what the answer has to say besides the key
WRONG: list[tuple[str, Any, list[str]]] = [
    ("seed", "abc", ["seed=abc: ", "whole number"]),
    ("seed", None, ["seed=null: ", "whole number"]),
    ("seed", True, ["seed=true: "]),
    ("seed", -1, ["seed=-1: ", ">= 0"]),
    ("seed", 2**32, ["<= 4294967295"]),
    ("optimizer.lr", "fast", ["optimizer.lr=fast: ", "number", "learning rate"]),
    ("optimizer.lr", 0, ["> 0"]),
    ("optimizer.betas", [0.9, 1.5], ["optimizer.betas.1=1.5: ", "< 1.0"]),
    ("optimizer.betas", [0.9], ["length 2"]),
    ("optimizer.lrr", 1, ["'optimizer.lrr'", "'lr'", "weight_decay"]),
    ("data.batch_size", 1.5, ["data.batch_size=1.5: ", "whole number"]),
    ("data.image_size", [1, 2, 3], ["data.image_size=[1, 2, 3]: ", "2"]),
    ("data.image_size", 0, [">= 1"]),
    ("data.classes", [0, 1], ["data.classes.0=0: ", "text", "quote"]),
    ("data.classes", "a", ["list"]),
    ("data.val_fraction", 1.0, ["< 1.0"]),
    ("data.sampler", "balance", ["shuffle", "'balanced'"]),
    ("data.class_aliases", {True: "a"}, ["data.class_aliases=", "names", "text"]),
    ("data.fold", 0, ["data.folds"]),
    ("data.folds", 1, [">= 2"]),
    ("data.patient_regex", "P(", ["data.patient_regex=P(", "regular expression"]),
    ("loss.class_weights", {"a": -1.0}, [">= 0"]),
    ("loss.class_weights", "autoo", ["auto, null", "'auto'"]),
    ("model.freeze", "param", ["params, true, false", "'params'"]),
    ("model.in_channels", 2, ["1, 3"]),
    ("model.widths", [1], ["'model.widths'", "backbone"]),
    ("evaluate_test", "maybe", ["auto, true, false"]),
    ("trainer.accelerator", "gpuu", ["'gpu'", "cpu"]),
    ("trainer.max_time", "3h", ["DD:HH:MM:SS"]),
    ("trainer.limit_train_batches", 1.5, ["<= 1.0"]),
    ("trainer.max_epoch", 1, ["'trainer.max_epoch'", "'max_epochs'", "accelerator"]),
    ("augment.rotate", 200, ["180"]),
    ("name", "a/b", ["letters, digits"]),
    ("name", "..", ["letters, digits"]),
    ("name", "", ["letters, digits"]),
    ("paths.runs", "", ["length >= 1"]),
    ("monitor.mode", "maximum", ["max, min", "'max'"]),
    ("monitor.metric", "val/f1", ["'val/f1_macro'", "val/auroc"]),
    ("monitor.metric", "val/loss", ["monitor.mode=max", "mode=min"]),
    ("monitor", "val/loss", ["monitor=val/loss: "]),
    ("callbacks.checkpoint.every_epoch", "maybe", ["true or false"]),
    ("callbacks.learning_rate.logging", "x", ["'callbacks.learning_rate.logging'", "logging_interval"]),
    ("callbacks.checkpoint", None, ["callbacks.checkpoint"]),
    ("callbacks.mine", 5, ["callbacks.mine=5: "]),
    ("callbacks.figures._target_", "my.Figures", ["medimg.training.checkpoints", "allow={callbacks:[my.Figures]}"]),
    ("optimizer._target_", "torch.optim.Adamm", ["'torch.optim.Adam'", "allow={optimizer:[torch.optim.Adamm]}"]),
    ("allow", {"optimizer": "my.Lion"}, ["list"]),
    ("foo", 1, ["'foo'", "trainer"]),
]


@pytest.mark.parametrize(("key", "value", "said"), WRONG, ids=[f"{key}={value}" for key, value, _ in WRONG])
def test_wrong_value(good: dict[str, Any], key: str, value: object, said: list[str]) -> None:
    raw = copy.deepcopy(good)
    *parents, last = key.split(".")
    node = raw
    for name in parents:
        node = node[name]
    node[last] = value
    with pytest.raises(RequestError) as caught:
        check(raw)
    text = str(caught.value)
    for words in [key.partition("._target_")[0] if value != "val/loss" else "val/loss", *said]:
        assert words in text
    assert len(text.splitlines()) <= 4
    assert "_target_': " not in text, "a value is shown, not the part of the configuration that it stands in"


def test_keys_are_those_of_the_chosen_component(good: dict[str, Any]) -> None:
    raw = copy.deepcopy(good)
    raw["model"]["backbon"] = "x"
    with pytest.raises(RequestError, match="Did you mean 'backbone'") as caught:
        check(raw)
    listed = str(caught.value).partition("keys here: ")[2].split(", ")
    assert listed == ["backbone", "dropout", "freeze", "in_channels", "init_from", "name", "weights"]


@pytest.mark.parametrize(
    ("message", "node", "under", "said"),
    [
        ("Expected `int`, got `str` - at `$.seed`", {"seed": "x"}, "", ["seed=x: expected whole number, got text"]),
        ("Expected `float` < 1.0 - at `$.betas[1]`", {"betas": [0, 2]}, "optimizer", ["optimizer.betas.1=2: "]),
        ("Expected `int`, got `null` - at `$.seed`", {"seed": None}, "", ["seed=null"]),
        (
            "Expected `str`, got `int` - at `key` in `$.data.class_aliases`",
            {"data": {"class_aliases": {1.5: "a"}}},
            "",
            ["data.class_aliases={1.5: 'a'}", "names"],
        ),
        (
            "Expected `float`, got `str` - at `$.class_weights[...]`",
            {"class_weights": {"a": "b"}},
            "loss",
            ["loss.class_weights={'a': 'b'}"],
        ),
        (
            "Object contains unknown field `lrr`",
            {"_target_": "torch.optim.SGD"},
            "optimizer",
            ["'optimizer.lrr'", "'lr'", "nesterov"],
        ),
        ("Object contains unknown field `seeds`", {}, "", ["'seeds'", "'seed'", "trainer"]),
        ("Expected `object`, got `int`", 5, "callbacks.mine", ["callbacks.mine=5: expected {name:value}"]),
    ],
)
def test_msgspec_in_our_words(message: str, node: object, under: str, said: list[str]) -> None:
    text = explain(message, node, under)
    for words in said:
        assert words in text
    assert "`" not in text
    assert "$" not in text


def test_values_are_shown_as_yaml_has_them() -> None:
    assert [shown(value) for value in (None, True, False, 1, 0.5, "a b", [1])] == [
        "null",
        "true",
        "false",
        "1",
        "0.5",
        "a b",
        "[1]",
    ]


def test_the_users_own_value_is_left_as_it_is(good: dict[str, Any]) -> None:
    raw = copy.deepcopy(good)
    raw["trainer"]["profiler"] = "strintfloat"
    with pytest.raises(RequestError, match="strintfloat"):
        check(raw)
