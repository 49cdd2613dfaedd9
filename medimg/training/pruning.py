"""Ends the bad trials of a hyperparameter search early."""

import logging
import math
from typing import TYPE_CHECKING

import lightning as L
from lightning.pytorch.callbacks import Callback

from medimg.config import MonitorConfig
from medimg.errors import RequestError
from medimg.runs import RunFolder
from medimg.training.search_storage import DATABASE, FOLDER, STUDY, open_storage

if TYPE_CHECKING:
    from optuna import Study
    from optuna.storages import RDBStorage

log = logging.getLogger(__name__)


class Pruning(Callback):
    """Stops a trial whose best epoch so far is behind the median of what earlier trials had at that epoch.

    The trial is the one that the search in the folder above is running in this run's folder. A run that belongs to no
    such trial, because it was started or resumed outside the search, is left alone. A pruned run is evaluated as any
    other, and its run.json says `pruned: true`.

    Args:
        startup_trials: trials that end before any other is pruned.
        warmup_epochs: epochs before a trial may be pruned.
        folder: of the run.
        monitor: what is compared.
    """

    def __init__(self, startup_trials: int, warmup_epochs: int, folder: RunFolder, monitor: MonitorConfig) -> None:
        self.startup_trials, self.warmup_epochs = startup_trials, warmup_epochs
        self.folder, self.monitor = folder, monitor
        self._storage: RDBStorage | None = None
        self._trial: int | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Finds the trial; a run that was pruned, and then killed before its evaluation, is not trained on."""
        if trainer.is_global_zero:
            try:
                self._find()
            except RequestError as error:  # a run can be taken up where Optuna is not installed
                log.warning("the run is not pruned: %s", error)
        pruned = self._trial is not None and bool(self.folder.info().get("pruned"))
        if trainer.is_global_zero and self._trial is None and self.folder.info().get("pruned"):
            self.folder.update(pruned=False)  # taken up by hand, to be trained to its end
        if trainer.strategy.broadcast(pruned):
            trainer.should_stop = True

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Reports the epoch, and stops where the search has seen better by then."""
        if trainer.sanity_checking:
            return
        stop = trainer.is_global_zero and self._trial is not None and self._is_behind(trainer)
        if trainer.strategy.broadcast(stop):
            trainer.should_stop = True

    def _find(self) -> None:
        if not (self.folder.path.parent / DATABASE).is_file():
            return
        from optuna import load_study
        from optuna.samplers import RandomSampler
        from optuna.trial import TrialState

        self._storage = open_storage(self.folder.path.parent)
        study = load_study(study_name=STUDY, storage=self._storage, sampler=RandomSampler())
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        mine = [trial for trial in running if trial.user_attrs.get(FOLDER) == self.folder.path.name]
        if mine:
            self._study: Study = study
            self._trial = mine[0]._trial_id

    def _is_behind(self, trainer: L.Trainer) -> bool:
        """Whether the trial is pruned by what it has reached up to this epoch."""
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError

        try:
            behind = self._report(trainer)
        except (OptunaError, SQLAlchemyError) as error:  # the search is worth less than the run
            log.warning("the search cannot be told of epoch %d: %s", trainer.current_epoch, error)
            return False
        last = trainer.max_epochs is not None and trainer.current_epoch + 1 >= trainer.max_epochs
        if not behind or last:
            return False
        self.folder.update(pruned=True)
        log.info("epoch %d: pruned, as earlier trials were better by then", trainer.current_epoch)
        return True

    def _report(self, trainer: L.Trainer) -> bool:
        from optuna.pruners import MedianPruner

        if self._storage is None or self._trial is None:
            return False
        epoch = trainer.current_epoch
        told = dict(self._storage.get_trial(self._trial).intermediate_values)
        # of an epoch that was told before the run was killed, and of which it was resumed, the first telling counts
        if epoch not in told:
            best = self._best([*told.values(), float(trainer.callback_metrics.get(self.monitor.metric, math.nan))])
            if best is None:
                return False
            self._storage.set_trial_intermediate_value(self._trial, epoch, best)
        pruner = MedianPruner(n_startup_trials=self.startup_trials, n_warmup_steps=self.warmup_epochs)
        return pruner.prune(self._study, self._storage.get_trial(self._trial))

    def _best(self, values: list[float]) -> float | None:
        known = [value for value in values if not math.isnan(value)]
        choose = max if self.monitor.mode == "max" else min
        return choose(known) if known else None
