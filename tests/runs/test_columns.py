"""Which columns tell runs apart, and which runs are of one setting."""

from pathlib import Path

import pytest
from handmade_runs import write_run

from medimg.runs.columns import differing, setting, shown, titles
from medimg.runs.records import Run, read_run


@pytest.fixture
def read(tmp_path: Path):
    """Reads a run with these overrides."""

    def make(*overrides: str, **given: object) -> Run:
        return read_run(write_run(tmp_path / str(len(list(tmp_path.iterdir()))), *overrides, value=0.5, **given))

    return make


def table(runs: list[Run]) -> dict[str, list[str]]:
    return {column.key: [column.cell(run) for run in runs] for column in differing(runs, lambda run: run.data)}


@pytest.mark.parametrize(
    "same",
    [
        ["seed=1"],
        ["data.folds=3", "data.fold=2"],
        ["name=other"],
        ["paths.runs=/elsewhere"],
        ["data.num_workers=7"],
        ["data.root=/the/same/images/elsewhere"],
        ["data=manifest", "data.root=/the/same/images.csv"],
        ["logger=none"],
        ["callbacks.figures=null"],
        ["trainer.accelerator=cpu"],
        ["trainer.devices=[3]"],
        ["trainer.enable_progress_bar=false"],
        ["trainer.profiler=simple"],
        ["evaluate_test=true"],
        ["allow={model:[my.net]}"],
    ],
)
def test_what_cannot_change_a_result_or_is_its_spread_tells_no_settings_apart(read, same: list[str]) -> None:
    facts = {"positive_class": "covid"}  # as it was found in the images
    runs = [read(**facts), read(*same, **facts)]
    assert setting(runs[0]) == setting(runs[1])
    assert table(runs) == {}


@pytest.mark.parametrize(
    ("override", "key", "cells"),
    [
        ("optimizer.lr=0.1", "optimizer.lr", ["0.001", "0.1"]),
        ("model=resnet18", "model", ["small_cnn", "resnet18"]),
        ("optimizer=sgd", "optimizer", ["Adam", "SGD"]),
        ("scheduler=step", "scheduler", ["none", "StepLR"]),
        ("loss=focal", "loss", ["CrossEntropyLoss", "FocalLoss"]),
        ("loss.class_weights={covid:2,normal:1}", "loss.class_weights", ["null", "{covid:2.0,normal:1.0}"]),
        ("model.widths=[4,8]", "model.widths", ["[16,32,64]", "[4,8]"]),
        ("model.batch_norm=false", "model.batch_norm", ["true", "false"]),
        ("augment=rotate_zoom", "augment", ["none", "rotate_zoom"]),
        ("augment=light", "augment", ["none", "light"]),
        ("augment={rotate:3,noise:0.5}", "augment", ["none", "rotate=3.0 noise=0.5"]),
        ("augment.noise=0.5", "augment.noise", ["0.0", "0.5"]),
        ("callbacks=early_stopping", "callbacks.early_stopping", ["none", "RunEarlyStopping"]),
        ("data.image_size=[32,48]", "data.image_size", ["null", "[32,48]"]),
        ("trainer.max_epochs=7", "trainer.max_epochs", ["10", "7"]),
        ("trainer.devices=[0,1]", "trainer.devices", ["1", "2"]),
    ],
)
def test_what_is_tried_is_a_column(read, override: str, key: str, cells: list[str]) -> None:
    runs = [read(), read(override)]
    assert setting(runs[0]) != setting(runs[1])
    assert table(runs)[key] == cells


@pytest.mark.parametrize(
    ("override", "key", "cell"),
    [
        ("data.region=border", "data.region", "border"),
        ("data.resize=fit", "data.resize", "fit"),
        ("augment=light", "augment", "light"),
        ("scheduler=step", "scheduler", "StepLR"),
        ("loss=focal", "loss", "FocalLoss"),
        ("callbacks=early_stopping", "callbacks.early_stopping", "RunEarlyStopping"),
    ],
)
def test_what_is_unusual_is_told_though_all_have_it_alike(read, override: str, key: str, cell: str) -> None:
    assert table([read(override), read(override, "seed=1")]) == {key: [cell, cell]}


def test_what_counts_is_what_was_run(read) -> None:
    on_cpu = {"device": "cpu", "precision": "bf16-mixed", "channels_last": True, "compile": False}
    asked = [[], ["trainer.precision=16-mixed"], ["trainer.float32_matmul_precision=highest"], ["trainer.compile=true"]]
    runs = [read(*overrides, **on_cpu) for overrides in asked]
    assert len({setting(run) for run in runs}) == 1
    for name, other in (("precision", "32-true"), ("channels_last", False), ("compile", True)):
        assert list(table([runs[0], read(**on_cpu | {name: other})])) == [f"trainer.{name}"]
    early = read(status="failed", data_fingerprint=None)
    assert table([*runs, early]) == {}
    assert set(setting(early)) < set(setting(runs[0]))


def test_a_positive_class_that_was_not_found_yet_is_no_difference(read) -> None:
    given = ["data=manifest", "data.root=/images.csv"]
    runs = [read(*given, positive_class="covid"), read(*given, status="failed", data_fingerprint=None)]
    assert table(runs) == {}


def test_what_follows_from_the_name_of_a_group_is_not_shown_beside_it(read) -> None:
    assert list(table([read("model=resnet18"), read("model=small_cnn"), read("model=quickstart_cnn")])) == ["model"]
    found = table([read("model=resnet18"), read("model=vgg16"), read("model=vgg16", "model.freeze=true")])
    assert found == {"model": ["resnet18", "vgg16", "vgg16"], "model.freeze": ["false", "false", "true"]}


def test_the_learning_rate_is_always_shown_where_it_differs(read) -> None:
    found = table([read("optimizer=adam"), read("optimizer=sgd")])
    assert found == {"optimizer": ["Adam", "SGD"], "optimizer.lr": ["0.001", "0.01"]}


def test_targets_whose_last_parts_are_alike_are_named_whole(read) -> None:
    own = read(config={"optimizer": {"_target_": "my.Adam", "lr": 0.001}})
    assert table([read(), own])["optimizer"] == ["torch.optim.Adam", "my.Adam"]


def test_the_source_is_shown_where_the_images_differ(read) -> None:
    there = ["data.root=/there"]
    assert table([read(), read(*there, data_fingerprint="e" * 64)]) == {"data.root": ["/images", "/there"]}
    assert table([read(), read(*there)]) == {}
    found = table([read(), read("data=ct", *there, data_fingerprint="e" * 64)])
    assert found["data"] == ["covid", "ct"]
    assert "data.root" not in found  # it follows


def test_a_run_that_failed_on_its_way_to_the_images_adds_no_column(read) -> None:
    assert table([read(), read("data.root=/wrong", data_fingerprint=None, status="failed")]) == {}
    assert "optimizer.lr" in table([read(), read("optimizer.lr=9", data_fingerprint=None, status="failed")])


def test_a_run_that_cannot_be_read_has_empty_cells(read, tmp_path: Path) -> None:
    broken = write_run(tmp_path / "broken")
    broken.config_file.unlink()
    runs = [read(), read("optimizer=sgd", "augment=light"), read_run(broken)]
    assert all(cells[2] == "" and cells[0] for cells in table(runs).values())


def test_titles_are_the_shortest_ends_that_are_unique() -> None:
    keys = ["model", "optimizer.lr", "callbacks.early_stopping.patience", "scheduler.patience", "data.name"]
    assert titles(keys) == ["model", "lr", "early_stopping.patience", "scheduler.patience", "name"]
    assert titles(["a.b", "x.a.b"]) == ["a.b", "x.a.b"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "null"), (True, "true"), (1e-05, "1e-05"), ([1, [2, None]], "[1,[2,null]]"), ({"a": "b|c"}, "{a:b|c}")],
)
def test_values_are_shown_as_hydra_takes_them(value: object, text: str) -> None:
    assert shown(value) == text
