"""Leaves out what Lightning says at every start and what users can do nothing about."""

import logging
import warnings

_NOISE = (
    ".*does not have many workers.*",
    ".*smaller than the logging interval.*",
    ".*Checkpoint directory.*exists and is not empty.*",
    ".*LeafSpec.*is deprecated.*",
    ".*in eval mode at the start of training.*",  # meant: a frozen trunk
    ".*recommended to use .self.log.*sync_dist.*",  # metrics are of all processes already
    ".*resuming from a checkpoint that ended before the epoch ended.*",  # the sampler goes on where it was
    ".*could not find the monitored key in the returned metrics.*",  # an epoch that is not validated
    ".*but have no `validation_step`.*",  # what is found before training needs none
    ".*Total length of `list` across ranks is zero.*",  # no validation split
)


def quiet() -> None:
    """To be called before a Trainer is made."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # torch.compile on a processor says that there is no GPU
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message=message)
