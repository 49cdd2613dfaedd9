"""What is read from a run folder, whole, unfinished or damaged."""

import json
from pathlib import Path

import pytest
from handmade_runs import write_run

from medimg.config.training import TrainConfig
from medimg.runs import RunFolder
from medimg.runs.records import find_runs, read_run


def test_a_trained_run_is_read_as_its_files_say(tiny_run: tuple[RunFolder, TrainConfig]) -> None:
    folder, config = tiny_run
    found = read_run(folder)
    info = json.loads(folder.run_file.read_text())
    results = json.loads(folder.results_file.read_text())
    assert (found.status, found.metric, found.mode) == ("completed", "val/f1_macro", "max")
    assert found.value == results["val"]["f1_macro"]
    assert found.test == {name: score for name, score in results["test"].items() if score is not None}
    assert (found.seconds, found.parameters) == (info["seconds"], info["parameters"]["total"])
    assert (found.data, found.images) == (info["data_fingerprint"], info["images_fingerprint"])
    assert found.data != found.images
    assert (found.split_unit, found.synthetic) == ("patient", True)
    assert found.config["optimizer.lr"] == config.optimizer.lr
    assert found.config["model.widths"] == [4, 8]
    header, *rows = [line.split(",") for line in folder.metrics_file.read_text().splitlines()]
    (loss,) = (row[header.index("val/loss")] for row in rows if int(row[0]) == results["best_epoch"])
    assert found.loss == float(loss)


def test_value_and_loss_are_of_the_best_epoch(tmp_path: Path) -> None:
    epochs = [(0.9, 0.1), (0.7, 0.2), (0.8, 0.3)]
    found = read_run(write_run(tmp_path / "a", value=0.8125, epochs=epochs))
    assert (found.value, found.loss, found.so_far) == (0.8125, 0.3, 0.9)


def test_a_metric_that_results_leave_out_is_taken_from_the_epoch_table(tmp_path: Path) -> None:
    monitor = ["monitor.metric=val/loss", "monitor.mode=min"]
    found = read_run(write_run(tmp_path / "a", *monitor, epochs=[(None, 0.2), (None, 0.3)]))
    assert (found.value, found.loss, found.so_far) == (0.3, 0.3, 0.2)  # the best epoch is that of results.json


@pytest.mark.parametrize("status", ["failed", "interrupted", "running"])
def test_a_run_that_did_not_end_has_no_value_but_a_best_so_far(tmp_path: Path, status: str) -> None:
    found = read_run(write_run(tmp_path / "a", epochs=[(0.5, 1.0), (0.75, 1.0), (0.6, 1.0)], status=status))
    assert (found.status, found.value, found.so_far, found.test) == (status, None, 0.75, {})


def test_a_pruned_run_is_worth_its_best_epoch(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", epochs=[(0.5, 1.0), (0.6, 0.9), (0.6, 0.8), (0.4, 0.1)], pruned=True)
    folder.results_file.unlink()
    found = read_run(folder)
    assert (found.status, found.value, found.loss) == ("pruned", 0.6, 0.8)


def test_a_split_that_was_not_evaluated_whole_is_no_score(tmp_path: Path) -> None:
    whole = {"f1_macro": 0.0, "auroc": None}
    assert read_run(write_run(tmp_path / "a", value=0.5, test=whole)).test == {"f1_macro": 0.0}
    assert read_run(write_run(tmp_path / "b", value=0.5, test=whole, partial={"test": [1, 2]})).test == {}
    assert read_run(write_run(tmp_path / "c", value=0.5, partial={"val": [1, 2]})).status == "partial"


def test_a_score_that_is_not_defined_is_none(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", value=float("nan"))  # JSON as other writers make it
    assert "NaN" in folder.results_file.read_text()
    assert read_run(folder).value is None


def test_keys_that_are_younger_than_the_run_have_their_defaults(tmp_path: Path) -> None:
    old = write_run(tmp_path / "old", value=0.5)
    lines = old.config_file.read_text().splitlines()
    old.config_file.write_text("\n".join(line for line in lines if "grad" not in line))
    assert "accumulate" not in old.config_file.read_text()
    assert read_run(old).config == read_run(write_run(tmp_path / "new", value=0.5)).config


def test_a_config_of_unknown_keys_is_taken_as_it_is(tmp_path: Path) -> None:
    found = read_run(write_run(tmp_path / "a", value=0.5, config={"optimizer": {"_target_": "my.Lion", "beta": 0.3}}))
    assert (found.status, found.config["optimizer.beta"]) == ("completed", 0.3)


def test_older_runs_have_no_fingerprint_of_their_images_alone(tmp_path: Path) -> None:
    found = read_run(write_run(tmp_path / "a", value=0.5, images_fingerprint=None))
    assert (found.data, found.images) == ("d" * 64, None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.json", '{"status": "runn'),
        ("run.json", "[1]"),
        ("run.json", '{"status": "completed", "monitor": 5}'),
        ("config.yaml", "a: [1"),
        ("config.yaml", "- 1"),
        ("config.yaml", None),
        ("results.json", "{"),
        ("results.json", "[]"),
        ("metrics.csv", "epoch,val/f1_macro,val/loss\n0,high,1\n"),
    ],
)
def test_a_damaged_run_is_unreadable_and_says_why(tmp_path: Path, name: str, text: str | None) -> None:
    folder = write_run(tmp_path / "a", value=0.5)
    (folder.path / name).unlink()
    if text is not None:
        (folder.path / name).write_text(text)
    found = read_run(folder)
    assert found.status == "unreadable"
    assert found.problem
    assert "\n" not in found.problem


def test_a_job_that_never_began(tmp_path: Path) -> None:
    assert read_run(RunFolder(tmp_path / "a")).status == "not started"


def test_runs_are_found_at_any_depth_and_each_once(tmp_path: Path) -> None:
    for name in ("study/b", "study/a", "deep/er/still/c"):
        write_run(tmp_path / name, value=0.5)
    (tmp_path / "study" / "empty").mkdir()
    found = find_runs([tmp_path, tmp_path / "study", tmp_path / "study" / "a"])
    assert [str(folder.path.relative_to(tmp_path)) for folder in found] == ["deep/er/still/c", "study/a", "study/b"]
    assert [folder.path for folder in find_runs([tmp_path / "study" / "a"])] == [tmp_path / "study" / "a"]
