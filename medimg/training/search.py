"""Hyperparameter search: Optuna proposes trials, Hydra's launcher runs them, and a search that was killed goes on."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from hydra.core.utils import JobReturn, JobStatus

from medimg.config import SearchConfig, TrainConfig
from medimg.config.names import job_folder
from medimg.config.wording import explain
from medimg.errors import RequestError, suggestion
from medimg.randomness import derive_seed
from medimg.runs import RunFolder
from medimg.training.search_command import command
from medimg.training.search_space import Space, read_space
from medimg.training.search_storage import FOLDER, OVERRIDES, alone, need_optuna, open_study

if TYPE_CHECKING:
    from optuna import Study
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

Launch = Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]]
Check = Callable[[Sequence[str]], TrainConfig]

SAMPLERS = ("tpe", "random")
_SHARED = "shared"  # the overrides that all trials share, kept with the study
# what may be another at each start of the same search
_MAY_CHANGE = ("sweep.", "data.num_workers", "trainer.enable_progress_bar", "paths.")


class Trial(NamedTuple):
    """One that is to be launched."""

    number: int
    overrides: list[str]
    folder: str


def search(settings: Mapping[str, Any], overrides: Sequence[str], folder: str, launch: Launch, check: Check) -> "Study":
    """Searches until the study has as many trials as were asked for, and says which was best.

    Args:
        settings: of the sweeper.
        overrides: of the command line, without those of Hydra itself.
        folder: of the sweep, for the study and the trials' runs.
        launch: runs jobs by their overrides, the first of which has this number; returns their best values.
        check: the checked configuration of a job.

    Raises:
        RequestError: the settings, the space or a part of it is wrong, or the study in the folder is of another search.
    """
    need_optuna()
    config = _settings(settings)
    space = read_space(config.params, overrides)
    shared = _check_edges(space, check)
    with alone(Path(folder)):
        study = open_study(Path(folder), "maximize" if shared.monitor.mode == "max" else "minimize")
        running = Search(study, config, space, shared, Path(folder), launch, check)
        running.refuse_another()
        try:
            running.run()
        finally:
            running.say_best()
    return study


def _settings(given: Mapping[str, Any]) -> SearchConfig:
    plain = {name: value for name, value in given.items() if name != "_target_"}
    sampler = plain.get("sampler")
    if sampler not in SAMPLERS:
        raise RequestError(
            f"hydra.sweeper.sampler={sampler}: no such sampler. {suggestion(str(sampler), SAMPLERS)}\n"
            f"  samplers: {', '.join(SAMPLERS)}"
        )
    try:
        return msgspec.convert(plain, SearchConfig)
    except msgspec.ValidationError as error:
        raise RequestError(explain(str(error), plain, "hydra.sweeper")) from None


def _check_edges(space: Space, check: Check) -> TrainConfig:
    """The configuration of a trial, once every choice and both ends of every interval have been checked."""
    configs = []
    for overrides in space.edges():
        try:
            configs.append(check(overrides))
        except RequestError as error:
            tried = " ".join(overrides[len(space.shared) :])
            raise RequestError(f"{error}\n  in a trial with {tried}") from None
    return configs[0]


@dataclass(frozen=True)
class Search:
    """A search that is going on: asks for trials, has them run, and tells what became of them.

    Nothing is kept but in the study and the run folders, so that it can be killed at any moment: trials that were
    running then are launched again with the same overrides, and so into the same folders.
    """

    study: "Study"
    settings: SearchConfig
    space: Space
    config: TrainConfig  # of any trial: what they share
    folder: Path
    launch: Launch
    check: Check

    def refuse_another(self) -> None:
        """Raises RequestError where the study was made for other settings or another space."""
        from optuna.distributions import check_distribution_compatibility

        settled = sorted(line for line in self.space.shared if not line.lstrip("+~").startswith(_MAY_CHANGE))
        before = self.study.user_attrs.get(_SHARED)
        if before is None:
            self.study.set_user_attr(_SHARED, settled)
        elif differing := sorted(set(before) ^ set(settled)):
            raise self._another(f"was begun with other settings: {' '.join(differing)}")
        for trial in self.study.get_trials(deepcopy=False):
            for key, distribution in trial.distributions.items():
                if key in self.space.distributions:
                    try:
                        check_distribution_compatibility(distribution, self.space.distributions[key])
                    except ValueError:
                        raise self._another(f"tried {key} over {_shown(distribution)}") from None

    def _another(self, why: str) -> RequestError:
        return RequestError(f"the search in {self.folder} {why}\n  give this one another name=")

    def run(self) -> None:
        """Launches batches until enough trials have ended."""
        while batch := self._batch():
            distinct = {trial.folder: trial for trial in batch}  # two trials may propose the same
            returned = self.launch([trial.overrides for trial in distinct.values()], batch[0].number)
            outcomes = dict(zip(distinct, returned, strict=True))
            failed = [self._settle(trial, outcomes[trial.folder]) for trial in batch]
            if any(self._was_interrupted(trial) for trial in batch):
                log.error("a trial was interrupted; the same command goes on with it")
                return
            if any(failed) and self.config.sweep.on_error == "stop":
                log.error("a trial failed, and sweep.on_error=stop")
                return

    def _batch(self) -> list[Trial]:
        """The trials that were running when the search was killed, and then new ones."""
        batch: list[Trial] = []
        waiting = [trial for trial in self._known() if not trial.state.is_finished()]
        while len(batch) < self._room():
            if waiting:
                left = waiting.pop(0)
                trial = Trial(left.number, left.user_attrs[OVERRIDES], left.user_attrs[FOLDER])
            elif (asked := self._ask()) is None:
                continue
            else:
                trial = asked
            try:
                self.check(trial.overrides)
            except RequestError as error:
                self._fail(trial, str(error))
            else:
                batch.append(trial)
        return batch

    def _room(self) -> int:
        """How many trials may run at a time; those that were asked for and not told yet are among them."""
        ended = sum(trial.state.is_finished() for trial in self._known())
        return min(self.settings.n_jobs, self.settings.n_trials - ended)

    def _known(self) -> list["FrozenTrial"]:
        """All trials but those whose making was cut off by a kill; they count for nothing."""
        return [trial for trial in self.study.get_trials(deepcopy=False) if FOLDER in trial.user_attrs]

    def _ask(self) -> Trial | None:
        """A new trial; None where it proposes what another has tried: that one's outcome is its own."""
        # a sampler for each trial, seeded by its place: a search that was killed proposes what it would have proposed
        self.study.sampler = self._sampler(derive_seed(self.settings.seed, len(self._known())) % 2**32)
        asked = self.study.ask(fixed_distributions=dict(self.space.distributions))
        overrides = self.space.overrides(asked.params)
        trial = Trial(asked.number, overrides, job_folder(overrides))
        twin = self._twin(trial.folder)
        asked.set_user_attr(OVERRIDES, overrides)
        asked.set_user_attr(FOLDER, trial.folder)
        if twin is None:
            return trial
        for epoch, value in twin.intermediate_values.items():
            asked.report(value, epoch)
        self.study.tell(asked, twin.value if twin.state.name == "COMPLETE" else None, twin.state)
        self._say(trial, f"the same as trial {twin.number + 1}")
        return None

    def _twin(self, folder: str) -> "FrozenTrial | None":
        """A trial that ended with a value in this folder."""
        ended = [trial for trial in self._known() if trial.state.name in {"COMPLETE", "PRUNED"}]
        return next((trial for trial in ended if trial.user_attrs[FOLDER] == folder), None)

    def _sampler(self, seed: int) -> "BaseSampler":
        from optuna.samplers import RandomSampler, TPESampler

        if self.settings.sampler == "random":
            return RandomSampler(seed=seed)
        startup = self.settings.startup_trials
        return TPESampler(n_startup_trials=startup, seed=seed)

    def _settle(self, trial: Trial, outcome: JobReturn) -> bool:
        """Tells the study what became of a trial; returns whether it failed."""
        from optuna.trial import TrialState

        if self._was_interrupted(trial):
            return False  # it stays running, and is taken up again
        value = outcome.return_value if outcome.status is JobStatus.COMPLETED else None
        if not isinstance(value, int | float) or math.isnan(value):
            self._fail(trial, "" if outcome.status is JobStatus.COMPLETED else str(outcome._return_value))
            return True
        if self._info(trial).get("pruned"):
            self.study.tell(trial.number, state=TrialState.PRUNED)
            self._say(trial, f"pruned at {self.config.monitor.metric} {value:.4f}")
        else:
            self.study.tell(trial.number, float(value))
            self._say(trial, f"{self.config.monitor.metric} {value:.4f}")
        return False

    def _fail(self, trial: Trial, why: str) -> None:
        from optuna.trial import TrialState

        self.study.tell(trial.number, state=TrialState.FAIL)
        self._say(trial, f"failed{': ' if why else ''}{why}")

    def _was_interrupted(self, trial: Trial) -> bool:
        return self._info(trial).get("status") == "interrupted"

    def _info(self, trial: Trial) -> dict[str, Any]:
        with suppress(RequestError):
            return RunFolder(self.folder / trial.folder).info()
        return {}

    def _say(self, trial: Trial, what: str) -> None:
        log.setLevel(logging.INFO)  # the launcher sets the root logger to warnings, after each job
        tried = " ".join(trial.overrides[len(self.space.shared) :])
        log.info("trial %d of %d: %s  (%s)", trial.number + 1, self.settings.n_trials, what, tried)

    def say_best(self) -> None:
        """Prints the best trial, and the command that trains it again with a look at the test split."""
        from optuna.trial import TrialState

        trials = self._known()
        if not trials:
            return
        count = {state: sum(trial.state is state for trial in trials) for state in TrialState}
        pruned, failed, left = count[TrialState.PRUNED], count[TrialState.FAIL], count[TrialState.RUNNING]
        said = f"{len(trials) - left} of {self.settings.n_trials} trials: {count[TrialState.COMPLETE]} completed"
        said += f", {pruned} pruned, {failed} failed"
        said += f", {left} unfinished (the same command goes on with it)" if left else ""
        print(said)  # noqa: T201 - the result of the command
        if not count[TrialState.COMPLETE]:
            return
        best = self.study.best_trial
        where = RunFolder(self.folder / best.user_attrs[FOLDER]).shown
        print(f"best: trial {best.number + 1}, {self.config.monitor.metric} {best.value:.4f}, {where}")  # noqa: T201
        print(f"  {command(best.user_attrs[OVERRIDES], self.check)}")  # noqa: T201


def _shown(distribution: Any) -> str:
    choices = getattr(distribution, "choices", None)
    return ", ".join(choices) if choices is not None else f"{distribution.low} to {distribution.high}"
