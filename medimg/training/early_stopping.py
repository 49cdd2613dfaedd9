"""Early stopping that a resumed run remembers."""

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping


class RunEarlyStopping(EarlyStopping):
    """Lightning's, but a run that had been stopped when it was killed is not trained on when it is taken up."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Its state has come with the checkpoint; that training was to stop has not."""
        if self.stopped_epoch or self.wait_count >= max(1, self.patience):
            trainer.should_stop = True
