"""The training step of a run alone, for Lightning's Tuner: nothing is kept, logged or validated."""

import lightning as L
import msgspec
from torch import Tensor
from torch.optim import Optimizer

from medimg.data.dataset import Batch
from medimg.errors import RequestError
from medimg.training.experiment import Experiment


class Probe(L.LightningModule):
    """Trains the classifier of an experiment that is thrown away afterwards.

    A loss that is no number does not end it, since learning rates that are too high are tried as well.

    Args:
        experiment: whose classifier, data and trainer are used.
    """

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        self.experiment = experiment
        self.classifier = experiment.classifier

    @property
    def batch_size(self) -> int:
        """Of the data module; the Tuner sets it."""
        return self.experiment.data.config.batch_size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        if size < 1:
            raise RequestError(
                "find.batch_size: not even one image fits into memory\n  a smaller data.image_size or another model"
            )
        data = self.experiment.data
        data.config = msgspec.structs.replace(data.config, batch_size=size)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of a batch."""
        loss, _ = self.classifier.loss_of(batch)
        return loss

    def configure_optimizers(self) -> Optimizer:
        """The run's own, without a schedule."""
        optimizer = self.classifier.configure_optimizers()
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"a schedule would hide what is looked for: {optimizer}")
        return optimizer
