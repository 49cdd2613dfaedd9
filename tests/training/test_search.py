"""A search with runs that a formula stands in for: what counts, what is taken up again, and what is refused."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

import optuna
import pytest
from hydra.core.utils import JobReturn, JobStatus
from optuna.trial import TrialState
from tiny_training import configured, logging_as_before

from medimg.config import TrainConfig
from medimg.config.names import job_folder
from medimg.errors import RequestError
from medimg.runs import RunFolder
from medimg.training.search import search
from medimg.training.search_storage import alone, open_study

SETTINGS: dict[str, Any] = {
    "_target_": "hydra_plugins.medimg_sweeper.OptunaSweeper",
    "n_trials": 8,
    "n_jobs": 1,
    "sampler": "tpe",
    "startup_trials": 3,
    "seed": 0,
    "params": {"optimizer.lr": "interval(0,1)", "augment": "none,light"},
}


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    with logging_as_before():
        yield


def height(overrides: Sequence[str]) -> float:
    """A hill with its top at 0.3, a little lower without augmentation."""
    values = dict(line.split("=") for line in overrides)
    return 1 - (float(values["optimizer.lr"]) - 0.3) ** 2 - 0.1 * (values["augment"] == "none")


@dataclass
class Runs:
    """The launcher of jobs that are a formula; a run that is there already is skipped, as a real one would be."""

    folder: Path
    value: Callable[[Sequence[str]], Any] = height
    killed_at: int = -1  # this launch, before it has done anything
    batches: list[list[str]] = field(default_factory=list)
    trained: list[str] = field(default_factory=list)

    def __call__(self, batch: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        if len(self.batches) == self.killed_at:
            raise KeyboardInterrupt
        self.batches.append([job_folder(overrides) for overrides in batch])
        return [self._run(overrides) for overrides in batch]

    def _run(self, overrides: Sequence[str]) -> JobReturn:
        run = RunFolder(self.folder / job_folder(overrides))
        value = self.value(overrides)
        if run.info().get("status") != "completed":
            self.trained.append(run.path.name)
            run.update(status="completed" if isinstance(value, float) else "failed")
        outcome = JobReturn(status=JobStatus.FAILED if isinstance(value, Exception) else JobStatus.COMPLETED)
        outcome.return_value = value
        return outcome


def fixed(changes: dict[str, Any] | None = None) -> Callable[[Sequence[str]], TrainConfig]:
    config = configured(changes)
    return lambda _: config


def searched(runs: Runs, *overrides: str, check: Any = None, **settings: Any) -> optuna.Study:
    return search(SETTINGS | settings, overrides, str(runs.folder), runs, check or fixed())


def tried(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials]


def test_the_best_value_is_that_of_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = Runs(tmp_path)
    study = searched(runs, n_trials=25)
    heights = [height([f"{key}={value}" for key, value in trial.params.items()]) for trial in study.trials]
    assert [trial.value for trial in study.trials] == heights
    assert study.best_value == max(heights) > 0.99
    said = capsys.readouterr().out
    assert "25 of 25 trials: 25 completed, 0 pruned, 0 failed" in said
    assert f"best: trial {study.best_trial.number + 1}, val/f1_macro {max(heights):.4f}" in said
    assert f"optimizer.lr={study.best_params['optimizer.lr']!r} augment=light" in said
    assert all(
        trial.user_attrs["folder"] == folder for trial, (folder,) in zip(study.trials, runs.batches, strict=True)
    )


def test_less_is_better_where_the_monitor_says_so(tmp_path: Path) -> None:
    check = fixed({"monitor.metric": "val/loss", "monitor.mode": "min"})
    study = searched(Runs(tmp_path), check=check, n_trials=12)
    assert study.best_value == min(trial.value for trial in study.trials if trial.value is not None)
    with pytest.raises(RequestError, match="would minimize its metric, this one would maximize"):
        searched(Runs(tmp_path))


def test_the_same_seed_searches_the_same(tmp_path: Path) -> None:
    first, again, other = (
        tried(searched(Runs(tmp_path / name), seed=seed)) for name, seed in (("a", 4), ("b", 4), ("c", 5))
    )
    assert first == again
    assert first != other
    assert len({params["optimizer.lr"] for params in first}) == len(first)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path: Path, sampler: str) -> None:
    whole = searched(Runs(tmp_path / "whole"), sampler=sampler)
    for moment in (0, 1, 5, 7):
        runs = Runs(tmp_path / str(moment), killed_at=moment)
        with pytest.raises(KeyboardInterrupt):
            searched(runs, sampler=sampler)
        runs.killed_at = -1
        study = searched(runs, sampler=sampler)
        assert tried(study) == tried(whole)
        assert [trial.value for trial in study.trials] == [trial.value for trial in whole.trials]
        assert len(runs.trained) == len(set(runs.trained)) == 8
        searched(runs, sampler=sampler)  # there is nothing left to do
        assert len(runs.trained) == 8
        assert len(searched(runs, sampler=sampler, n_trials=10).trials) == 10


def test_a_search_killed_by_sigkill_goes_on(tmp_path: Path) -> None:
    """Two trials at a time, and killed while they run: both are launched again, and no other."""
    script = dedent(
        """
        import os, signal, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from test_search import Runs, searched

        class Killed(Runs):
            def __call__(self, batch, first):
                if len(self.batches) == 2:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().__call__(batch, first)

        searched(Killed(Path(sys.argv[1])), n_jobs=2)
        """
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(Path(__file__).parent)]
    # its neighbours are imported by their bare names
    where = os.pathsep.join(
        [str(Path(__file__).parent), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    )
    ended = subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": where})
    assert ended.returncode == -signal.SIGKILL
    left = open_study(tmp_path, "maximize").trials
    assert [trial.state for trial in left] == [TrialState.COMPLETE] * 4 + [TrialState.RUNNING] * 2
    runs = Runs(tmp_path)
    study = searched(runs, n_jobs=2)
    assert len(study.trials) == 8
    assert all(trial.state is TrialState.COMPLETE for trial in study.trials)
    assert runs.batches[0] == [trial.user_attrs["folder"] for trial in left[4:]]
    assert len(runs.trained) == 4


@pytest.mark.parametrize("failure", [None, float("nan"), ValueError("broken")])
def test_a_failed_trial_costs_one_trial(tmp_path: Path, failure: object, capsys: pytest.CaptureFixture[str]) -> None:
    runs = Runs(tmp_path, lambda overrides: failure if "augment=none" in overrides else height(overrides))
    study = searched(runs, sampler="random")
    states = {"none": TrialState.FAIL, "light": TrialState.COMPLETE}
    assert [trial.state for trial in study.trials] == [states[trial.params["augment"]] for trial in study.trials]
    assert len(study.trials) == 8
    failed = sum(trial.state is TrialState.FAIL for trial in study.trials)
    assert 0 < failed < 8
    assert f"{8 - failed} completed, 0 pruned, {failed} failed" in capsys.readouterr().out
    searched(runs, sampler="random")
    assert len(runs.batches) == 8


def test_sweep_on_error_stop_ends_the_search_at_the_first_failure(tmp_path: Path) -> None:
    runs = Runs(tmp_path, lambda overrides: None)
    study = searched(runs, check=fixed({"sweep": {"on_error": "stop"}}))
    assert [trial.state for trial in study.trials] == [TrialState.FAIL]


def test_an_interrupted_run_is_no_failed_trial(tmp_path: Path) -> None:
    runs = Runs(tmp_path)

    def interrupted(batch: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        RunFolder(tmp_path / job_folder(batch[0])).update(status="interrupted")
        outcome = JobReturn(status=JobStatus.COMPLETED)
        outcome.return_value = None
        return [outcome]

    study = search(SETTINGS, [], str(tmp_path), interrupted, fixed())
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]
    assert len(searched(runs).trials) == 8
    assert runs.batches[0] == [study.trials[0].user_attrs["folder"]]


def test_a_pruned_run_is_a_pruned_trial(tmp_path: Path) -> None:
    runs = Runs(tmp_path)

    def pruned(batch: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        returned = runs(batch, first)
        RunFolder(tmp_path / job_folder(batch[0])).update(pruned=first % 2 == 0)
        return returned

    study = search(SETTINGS, [], str(tmp_path), pruned, fixed())
    assert [trial.state for trial in study.trials] == [TrialState.PRUNED, TrialState.COMPLETE] * 4


def test_trials_that_propose_the_same_share_a_run(tmp_path: Path) -> None:
    runs = Runs(tmp_path, lambda overrides: 0.5)
    study = searched(runs, n_jobs=3, params={"augment": "none,light"})
    assert len(study.trials) == 8
    assert all(len(batch) == len(set(batch)) <= 3 for batch in runs.batches)
    assert len(runs.trained) == 2
    assert len([folder for batch in runs.batches for folder in batch]) == 2
    assert [trial.value for trial in study.trials] == [0.5] * 8


def test_a_trial_that_proposes_a_pruned_one_has_its_course(tmp_path: Path) -> None:
    runs = Runs(tmp_path)

    def pruned(batch: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        study = open_study(tmp_path, "maximize")
        study._storage.set_trial_intermediate_value(study.trials[first]._trial_id, 3, 0.25)
        RunFolder(tmp_path / job_folder(batch[0])).update(pruned=True)
        return runs(batch, first)

    study = search(SETTINGS | {"params": {"augment": "none,light"}}, ["optimizer.lr=1"], str(tmp_path), pruned, fixed())
    assert len(runs.trained) == 2
    assert [(trial.state, trial.intermediate_values) for trial in study.trials] == [(TrialState.PRUNED, {3: 0.25})] * 8
    assert [trial.value for trial in study.trials] == [0.25] * 8


def test_trials_are_launched_n_jobs_at_a_time(tmp_path: Path) -> None:
    runs = Runs(tmp_path)
    study = searched(runs, n_jobs=3)
    assert [len(batch) for batch in runs.batches] == [3, 3, 2]
    assert len(study.trials) == 8


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["augment=none,strong"], "tried augment over none, light"),
        (["augment=none", "optimizer.lr=range(1,3)"], "other settings: augment=none"),
        (["trainer.max_epochs=3"], "other settings: trainer.max_epochs=3"),
    ],
)
def test_another_search_needs_another_name(tmp_path: Path, overrides: list[str], said: str) -> None:
    searched(Runs(tmp_path), n_trials=2)
    with pytest.raises(RequestError, match=said) as raised:
        searched(Runs(tmp_path), *overrides)
    assert "name=" in str(raised.value)
    assert len(searched(Runs(tmp_path), "data.num_workers=2", "sweep.on_error=stop", n_trials=3).trials) == 3


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_trials": 0}, "hydra.sweeper.n_trials=0: expected whole number >= 1"),
        ({"n_jobs": "two"}, "hydra.sweeper.n_jobs"),
        ({"sampler": "rndom"}, "Did you mean 'random'"),
        ({"params": {}}, "nothing to search"),
    ],
)
def test_wrong_settings_are_answered_before_anything_is_made(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        searched(Runs(tmp_path / "study"), **settings)
    assert not (tmp_path / "study").exists()


def test_a_trial_that_could_not_run_is_found_before_the_first(tmp_path: Path) -> None:
    def check(overrides: Sequence[str]) -> TrainConfig:
        if "augment=light" in overrides:
            raise RequestError("there is no light")
        return configured()

    with pytest.raises(RequestError, match=r"there is no light\n  in a trial with optimizer\.lr=0\.0 augment=light"):
        searched(Runs(tmp_path / "study"), check=check)
    assert not (tmp_path / "study").exists()


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RequestError, match=r"pip install 'medimg\[search\]'"):
        searched(Runs(tmp_path))


def test_a_file_that_is_no_study_is_named(tmp_path: Path) -> None:
    (tmp_path / "search.db").write_text("no database, but long enough to be looked at as one" * 20)
    with pytest.raises(RequestError, match=r"search\.db cannot be read"):
        searched(Runs(tmp_path))


def test_one_search_at_a_time_in_a_folder(tmp_path: Path) -> None:
    with alone(tmp_path):
        script = "import sys; from pathlib import Path; from medimg.training.search_storage import alone\n"
        script += "with alone(Path(sys.argv[1])): pass"
        ended = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], check=False, capture_output=True, text=True
        )
    assert ended.returncode == 1
    assert "another process is searching" in ended.stderr
