"""Whether a training can go on from a checkpoint's full state: of the same kind, and with something left to do."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from medimg.config.compare import differences, is_below, refuse_changes
from medimg.errors import RequestError
from medimg.models.classifier import ImageClassifier
from medimg.runs import RunFolder
from medimg.training.checkpoint_files import Position, position, refuse_other_model, refuse_other_training

# what decides which images are in a batch
_OF_BATCHES = ("data.batch_size", "data.sampler", "seed", "trainer.overfit_batches", "trainer.limit_train_batches")
_MADE_FOR_A_LENGTH = ("medimg.models.cosine_with_warmup", "torch.optim.lr_scheduler.OneCycleLR")


def check_start(
    content: Mapping[str, Any],
    checkpoint: Path,
    *,
    config: Mapping[str, Any],
    classifier: ImageClassifier,
    identity: Mapping[str, Any],
    run: RunFolder | None,
    force: Collection[str],
) -> Position:
    """Where the training goes on.

    Args:
        content: of the checkpoint.
        checkpoint: its file, for messages.
        config: of this run, in plain containers.
        classifier: whose weights it would fill in.
        identity: of this run, as checkpoints hold it.
        run: where the checkpoint is this run's own.
        force: keys of settings that may differ from those of the run's own checkpoint.

    Raises:
        RequestError: it cannot; the message says why.
    """
    refuse_other_training(content, dict(classifier.hparams), checkpoint)
    refuse_other_model(content, classifier.state_dict(), checkpoint)
    origin = content.get("run", {})
    if run is not None and origin:
        refuse_changes(origin["config"], config, run.shown, force)
    start = position(content)
    if start.batches:
        _refuse_other_batches(origin, identity, checkpoint)
    _refuse_other_length(origin, config, checkpoint)
    _refuse_nothing_left(start, config["trainer"], checkpoint, run)
    return start


def _refuse_other_batches(origin: Mapping[str, Any], identity: Mapping[str, Any], checkpoint: Path) -> None:
    changed = [key for key in ("data_fingerprint", "world_size") if origin.get(key) != identity[key]]
    found = differences(origin.get("config", {}), identity["config"])
    if changed or any(is_below(key, _OF_BATCHES) for key in found):
        raise RequestError(
            f"{checkpoint} was saved in the middle of an epoch, whose other batches would not be the same\n"
            "  it goes on with the same data, data.batch_size, data.sampler, seed and number of devices alone; "
            "model.init_from=FILE takes its weights"
        )


def _refuse_other_length(origin: Mapping[str, Any], config: Mapping[str, Any], checkpoint: Path) -> None:
    """A learning rate that has come to its planned end would start to rise again."""
    was = origin.get("config", {}).get("trainer", {}).get("max_epochs")
    now = config["trainer"]["max_epochs"]
    if was in {None, now} or (config["scheduler"] or {}).get("_target_") not in _MADE_FOR_A_LENGTH:
        return
    raise RequestError(
        f"{checkpoint} cannot go on to trainer.max_epochs={now}: its learning-rate schedule was made for {was} epochs\n"
        f"  start a new run, or one from its weights: model.init_from={checkpoint}"
    )


def _refuse_nothing_left(start: Position, trainer: Mapping[str, Any], checkpoint: Path, run: RunFolder | None) -> None:
    """Of its own run, a checkpoint of the last epoch still has its evaluation before it, where that is not done."""
    finished = run is None or run.info().get("status") == "completed"
    epochs, steps = trainer["max_epochs"], trainer["max_steps"]
    if start.epoch > epochs or (start.epoch == epochs and finished):
        raise RequestError(
            f"{checkpoint} has had {start.epoch} epochs, so trainer.max_epochs={epochs} "
            f"leaves nothing to train\n  trainer.max_epochs={start.epoch + 10} adds ten"
        )
    if 0 < steps <= start.steps and finished:
        raise RequestError(
            f"{checkpoint} has had {start.steps} steps, so trainer.max_steps={steps} leaves nothing to train\n"
            f"  trainer.max_steps={2 * steps} doubles them; -1 is no limit"
        )
