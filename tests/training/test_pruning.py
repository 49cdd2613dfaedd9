"""Pruning: which trials it ends and when, what it leaves alone, and that telling twice does no harm."""

import csv
import json
import math
import shlex
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import optuna
import pytest
import yaml
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from tiny_training import configured, fit, logging_as_before

from medimg.cli import main
from medimg.config.check import check
from medimg.runs import RunFolder
from medimg.training.search_storage import FOLDER, open_study

EPOCHS = 5


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    with logging_as_before():
        yield


def config(metric: str = "val/accuracy", mode: str = "max", **changes: Any) -> Any:
    pruning = {"_target_": "medimg.training.Pruning", "startup_trials": 2, "warmup_epochs": 2} | changes
    of_the_run = {"trainer.max_epochs": EPOCHS, "monitor.metric": metric, "monitor.mode": mode}
    return configured({"callbacks.pruning": pruning, **of_the_run})


def study_with(
    folder: Path, course: Sequence[float], direction: Any = "maximize", running: str = "run"
) -> optuna.Study:
    """Two trials that ended with this course of best values, and one that is running in a folder."""
    study = open_study(folder, direction)
    for _ in range(2):
        told = dict(enumerate(course))
        study.add_trial(optuna.create_trial(value=course[-1], intermediate_values=told, state=TrialState.COMPLETE))
    study.ask({"lr": FloatDistribution(0, 1)}).set_user_attr(FOLDER, running)
    return study


def told(study: optuna.Study) -> dict[int, float]:
    return study.trials[2].intermediate_values


def epochs(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def loss(run: Path) -> float:
    """Cross-entropy on validation, from the predictions of the best epoch."""
    with (run / "predictions" / "val.csv").open(newline="") as stream:
        return fmean(-math.log(float(row[f"prob_{row['label']}"])) for row in csv.DictReader(stream))


def test_a_trial_behind_the_median_ends_after_the_warm_up(tmp_path: Path) -> None:
    study = study_with(tmp_path, [2.0] * EPOCHS)  # no accuracy is that good
    fit(config(), tmp_path / "run")
    assert RunFolder(tmp_path / "run").info()["pruned"] is True
    seen = [float(row["val/accuracy"]) for row in epochs(tmp_path / "run")]
    assert len(seen) == 3  # two of warm-up, and the one in which it was found out
    assert told(study) == {epoch: max(seen[: epoch + 1]) for epoch in range(3)}
    assert study.trials[2].state is TrialState.RUNNING  # the search tells the rest


def test_a_trial_that_is_as_good_goes_on_to_its_end(tmp_path: Path) -> None:
    study = study_with(tmp_path, [0.0] * EPOCHS)
    fit(config(), tmp_path / "run")
    assert list(told(study)) == list(range(EPOCHS))
    assert "pruned" not in RunFolder(tmp_path / "run").info()


@pytest.mark.parametrize(("course", "pruned"), [(0.0, True), (100.0, False)])
def test_where_less_is_better_more_is_pruned(tmp_path: Path, course: float, pruned: bool) -> None:
    study = study_with(tmp_path, [course] * EPOCHS, "minimize")
    fit(config("val/loss", "min"), tmp_path / "run")
    assert RunFolder(tmp_path / "run").info().get("pruned", False) is pruned
    losses = [float(row["val/loss"]) for row in epochs(tmp_path / "run")]
    assert list(told(study).values()) == [min(losses[: epoch + 1]) for epoch in range(len(losses))]


def test_too_few_trials_prune_nothing(tmp_path: Path) -> None:
    study = study_with(tmp_path, [2.0] * EPOCHS)
    fit(config(startup_trials=3), tmp_path / "run")
    assert len(told(study)) == EPOCHS


def test_nothing_is_saved_by_pruning_in_the_last_epoch(tmp_path: Path) -> None:
    study_with(tmp_path, [2.0] * EPOCHS)
    fit(config(warmup_epochs=EPOCHS - 1), tmp_path / "run")
    assert "pruned" not in RunFolder(tmp_path / "run").info()


def test_a_run_of_no_trial_is_left_alone(tmp_path: Path) -> None:
    fit(config(), tmp_path / "without" / "run")
    assert not (tmp_path / "without" / "search.db").exists()
    study = study_with(tmp_path, [2.0] * EPOCHS, running="another")
    RunFolder(tmp_path / "run").update(pruned=True)  # and is now taken up by hand
    fit(config(), tmp_path / "run")
    assert len(epochs(tmp_path / "run")) == EPOCHS
    assert told(study) == {}
    assert RunFolder(tmp_path / "run").info()["pruned"] is False


def test_a_resumed_trial_tells_each_epoch_once(tmp_path: Path) -> None:
    """Killed after it told epoch 1 and before the checkpoint of it was there; the best of before counts as well."""
    study = study_with(tmp_path, [0.0] * EPOCHS)
    for epoch, value in enumerate((0.25, 1.5)):
        study._storage.set_trial_intermediate_value(study.trials[2]._trial_id, epoch, value)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="optuna.*")
        fit(config(), tmp_path / "run")
    assert list(told(study)) == list(range(EPOCHS))
    assert (told(study)[0], told(study)[1]) == (0.25, 1.5)
    assert all(told(study)[epoch] == 1.5 for epoch in range(2, EPOCHS))


def test_a_pruned_trial_that_was_killed_is_not_trained_on(tmp_path: Path) -> None:
    study_with(tmp_path, [2.0] * EPOCHS)
    fit(config(), tmp_path / "run")
    before = epochs(tmp_path / "run")
    fit(config(), tmp_path / "run", checkpoint=tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert epochs(tmp_path / "run") == before


def test_without_the_study_the_run_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "search.db").write_text("no database, but long enough to be looked at as one" * 20)
    fit(config(), tmp_path / "run")
    assert len(epochs(tmp_path / "run")) == EPOCHS
    assert "the run is not pruned" in caplog.text


def test_search_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Values are those of the runs, the search goes on for more, and the command for the best trains the same again."""
    monkeypatch.chdir(tmp_path)
    tiny = ["data=covid_phantom", "data.size=32", "data.patients_per_class=6", "data.num_workers=0", "model.widths=[4]"]
    quiet = ["callbacks.figures=null", "logger=none", "trainer.enable_progress_bar=false", "trainer.accelerator=cpu"]
    given = [*tiny, *quiet, "trainer.max_epochs=3", "name=study", "callbacks.pruning.startup_trials=1"]
    given += ["callbacks.pruning.warmup_epochs=1", "augment=none,light", "monitor.metric=val/loss", "monitor.mode=min"]
    given += ["optimizer=sgd", "optimizer.weight_decay=0", "optimizer.lr=1e-8,0.3"]
    assert main(["train", "-m", "sweep=search", *given, "hydra.sweeper.n_trials=2"]) == 0
    assert main(["train", "-m", "sweep=search", *given, "hydra.sweeper.n_trials=6"]) == 0
    said = capsys.readouterr().out

    trials = open_study(tmp_path / "runs" / "study", "minimize").trials
    assert len(trials) == 6
    for trial in trials:
        run = tmp_path / "runs" / "study" / trial.user_attrs[FOLDER]
        assert trial.value == pytest.approx(loss(run), rel=1e-4)
        assert "test" not in json.loads((run / "results.json").read_text())
        info = RunFolder(run).info()
        assert info["status"] == "completed"
        assert info.get("pruned", False) is (trial.state is TrialState.PRUNED)
        assert (len(epochs(run)) < 3) is (trial.state is TrialState.PRUNED)

    best = min((trial for trial in trials if trial.state is TrialState.COMPLETE), key=lambda trial: trial.value or 0)
    command = [shlex.split(line) for line in said.splitlines() if line.startswith("  medimg train")][-1]
    assert main([*command[1:], "hydra.run.dir=again"]) == 0
    again, there = (
        check(yaml.safe_load((folder / "config.yaml").read_text()))
        for folder in (tmp_path / "again", tmp_path / "runs" / "study" / best.user_attrs[FOLDER])
    )
    for part in ("data", "model", "optimizer", "augment", "trainer", "monitor", "seed"):
        assert getattr(again, part) == getattr(there, part)
    assert again.name == "study_best"
    assert loss(tmp_path / "again") == pytest.approx(best.value, rel=1e-4)
    assert "test" in json.loads((tmp_path / "again" / "results.json").read_text())
